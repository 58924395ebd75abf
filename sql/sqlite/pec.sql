-- Certified mail (PEC): its recipients' states, the receipts, and those that are missing.

-- name: pec_forget
DELETE FROM pec_message WHERE message_id IN (SELECT value FROM json_each(:ids));

-- name: pec_messages
INSERT INTO pec_message (message_id, tenant_pk, look_at)
VALUES (:message_id, :tenant_pk, :now + :look_after);

-- name: pec_recipients
INSERT INTO pec_recipient (message_id, rcpt, address) VALUES (:message_id, :rcpt, :address);

-- name: pec_find
-- By the number in a Message-ID of ours, by the Message-ID a client gave, by the client's id; the surest first.
SELECT f.id FROM (
    SELECT p.message_id AS id, 0 AS place FROM pec_message p WHERE p.message_id = :number AND p.tenant_pk = :tenant
    UNION ALL
    SELECT m.id, 1 FROM message m JOIN pec_message p ON p.message_id = m.id
    WHERE m.header_id = :header_id AND m.tenant_pk = :tenant
    UNION ALL
    SELECT m.id, 2 FROM message m JOIN pec_message p ON p.message_id = m.id
    WHERE m.tenant_pk = :tenant AND m.client_id = :client_id) f
ORDER BY f.place, f.id DESC LIMIT 1;

-- name: pec_standing
SELECT m.client_id, m.status, q.phase, q.attempts, m.revision,
       EXISTS (SELECT 1 FROM recipient_state r WHERE r.message_id = m.id AND r.accepted),
       (SELECT json_group_array(json_array(p.rcpt, p.address, p.state))
        FROM (SELECT * FROM pec_recipient WHERE message_id = m.id ORDER BY rcpt) p)
FROM message m LEFT JOIN q ON q.id = m.id WHERE m.id = :message;

-- name: pec_former
SELECT said FROM pec_receipt
WHERE tenant_pk = :tenant AND client_id = :client_id AND message_id = :message AND outcome = 'applied';

-- name: pec_enter
INSERT INTO pec_receipt (tenant_pk, message_id, client_id, n, said, outcome, received_at, raw)
SELECT :tenant, :message, :client_id,
       coalesce((SELECT max(n) FROM pec_receipt WHERE tenant_pk = :tenant AND client_id = :client_id), 0) + 1,
       :said, :outcome, :now, :raw
RETURNING n;

-- name: pec_states
UPDATE pec_recipient SET state = :state, at = :now WHERE message_id = :message_id AND rcpt = :rcpt;

-- name: pec_look
UPDATE pec_message SET look_at = :look_at WHERE message_id = :message_id;

-- name: pec_due
SELECT message_id FROM pec_message WHERE look_at <= :now ORDER BY look_at LIMIT :limit;

-- name: pec_still_due
SELECT m.id, m.status, m.done_at, :now FROM pec_message p JOIN message m ON m.id = p.message_id
WHERE p.message_id IN (SELECT value FROM json_each(:ids)) AND p.look_at <= :now ORDER BY m.id;

-- name: pec_timed_out
UPDATE pec_recipient SET state = 'timed_out', at = :now
WHERE message_id IN (SELECT value FROM json_each(:ids)) AND state = 'waiting';

-- name: pec_receipts
SELECT n, message_id, said, outcome, received_at, length(raw) FROM pec_receipt
WHERE tenant_pk = :tenant AND client_id = :client_id ORDER BY n;

-- name: pec_receipt
SELECT raw FROM pec_receipt WHERE tenant_pk = :tenant AND client_id = :client_id AND n = :number;

-- name: forget_receipts
DELETE FROM pec_receipt WHERE id IN (
    SELECT id FROM pec_receipt WHERE received_at < :now - :older_than ORDER BY received_at LIMIT :limit) RETURNING 1;
