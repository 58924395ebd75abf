-- Certified mail (PEC): its recipients' states, the receipts, and those that are missing.

-- name: pec_forget
DELETE FROM pec_message WHERE message_id = ANY(%(ids)s::bigint[]);

-- name: pec_messages
INSERT INTO pec_message (message_id, tenant_pk, look_at)
SELECT r.message_id, r.tenant_pk, now() + make_interval(secs => r.look_after)
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, tenant_pk bigint, look_after float8);

-- name: pec_recipients
INSERT INTO pec_recipient (message_id, rcpt, address)
SELECT r.message_id, r.rcpt, r.address
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, rcpt smallint, address text);

-- name: pec_find
-- By the number in a Message-ID of ours, by the Message-ID a client gave, by the client's id; the surest first.
SELECT f.id FROM (
    SELECT p.message_id AS id, 0 AS place FROM pec_message p WHERE p.message_id = %(number)s::bigint AND p.tenant_pk = %(tenant)s
    UNION ALL
    SELECT m.id, 1 FROM message m JOIN pec_message p ON p.message_id = m.id
    WHERE m.header_id = %(header_id)s::text AND m.tenant_pk = %(tenant)s
    UNION ALL
    SELECT m.id, 2 FROM message m JOIN pec_message p ON p.message_id = m.id
    WHERE m.tenant_pk = %(tenant)s AND m.client_id = %(client_id)s::text) f
ORDER BY f.place, f.id DESC LIMIT 1;

-- name: pec_standing
-- Locked in the order of everybody, so that receipts of one message come one after the other.
SELECT id FROM q WHERE id = %(message)s FOR UPDATE;
SELECT id FROM message WHERE id = %(message)s FOR UPDATE;
SELECT m.client_id, m.status, q.phase, q.attempts, m.revision,
       EXISTS (SELECT FROM recipient_state r WHERE r.message_id = m.id AND r.accepted),
       (SELECT json_agg(json_build_array(p.rcpt, p.address, p.state) ORDER BY p.rcpt)::text
        FROM pec_recipient p WHERE p.message_id = m.id)
FROM message m LEFT JOIN q ON q.id = m.id WHERE m.id = %(message)s;

-- name: pec_former
SELECT said FROM pec_receipt
WHERE tenant_pk = %(tenant)s AND client_id = %(client_id)s AND message_id = %(message)s AND outcome = 'applied';

-- name: pec_enter
INSERT INTO pec_receipt (tenant_pk, message_id, client_id, n, said, outcome, raw)
SELECT %(tenant)s, %(message)s, %(client_id)s,
       coalesce((SELECT max(n) FROM pec_receipt WHERE tenant_pk = %(tenant)s AND client_id = %(client_id)s), 0) + 1,
       %(said)s, %(outcome)s, %(raw)s
RETURNING n;

-- name: pec_states
UPDATE pec_recipient p SET state = r.state, at = now()
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, rcpt smallint, state text)
WHERE p.message_id = r.message_id AND p.rcpt = r.rcpt;

-- name: pec_look
UPDATE pec_message p SET look_at = to_timestamp(r.look_at)
FROM json_to_recordset(%(rows)s::json) AS r(message_id bigint, look_at float8) WHERE p.message_id = r.message_id;

-- name: pec_due
-- Locked, as by whoever takes a receipt in; what came in before the lock is seen by the next query alone.
WITH due AS (SELECT message_id FROM pec_message WHERE look_at <= now() ORDER BY look_at LIMIT %(limit)s)
SELECT m.id FROM message m WHERE m.id = ANY(ARRAY(SELECT message_id FROM due)) ORDER BY m.id FOR UPDATE SKIP LOCKED;

-- name: pec_still_due
SELECT m.id, m.status, extract(epoch FROM m.done_at)::float8, extract(epoch FROM now())::float8
FROM pec_message p JOIN message m ON m.id = p.message_id
WHERE p.message_id = ANY(%(ids)s::bigint[]) AND m.id = ANY(%(ids)s::bigint[]) AND p.look_at <= now() ORDER BY m.id;

-- name: pec_timed_out
UPDATE pec_recipient SET state = 'timed_out', at = now() WHERE message_id = ANY(%(ids)s::bigint[]) AND state = 'waiting';

-- name: pec_receipts
SELECT n, message_id, said, outcome, extract(epoch FROM received_at)::float8, octet_length(raw) FROM pec_receipt
WHERE tenant_pk = %(tenant)s AND client_id = %(client_id)s ORDER BY n;

-- name: pec_receipt
SELECT raw FROM pec_receipt WHERE tenant_pk = %(tenant)s AND client_id = %(client_id)s AND n = %(number)s;

-- name: forget_receipts
DELETE FROM pec_receipt WHERE id = ANY(ARRAY(
    SELECT id FROM pec_receipt WHERE received_at < now() - make_interval(secs => %(older_than)s)
    ORDER BY received_at LIMIT %(limit)s)) RETURNING 1;
