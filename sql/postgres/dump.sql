-- name: dump
-- What the migrations made, in the order they made it; procrastinate's own objects are its business.
SELECT format(E'CREATE TABLE %I (\n%s\n)%s;\n', c.relname, array_to_string(array_cat(
    ARRAY(
        SELECT format('    %I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                      CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                      CASE a.attidentity WHEN 'a' THEN ' GENERATED ALWAYS AS IDENTITY' ELSE '' END,
                      coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''))
        FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
    ARRAY(
        SELECT format('    CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid))
        FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype <> 'n' ORDER BY k.contype <> 'p', k.conname)), E',\n'),
    coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''))
    || array_to_string(ARRAY(
        SELECT pg_get_indexdef(i.indexrelid) || E';\n' FROM pg_index i
        WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid)
        ORDER BY i.indexrelid), '')
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname NOT LIKE 'procrastinate%'
ORDER BY c.oid;
