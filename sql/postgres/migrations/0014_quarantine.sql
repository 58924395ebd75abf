-- What was set aside goes in the order of its time.

CREATE INDEX quarantine_at ON quarantine (at);
