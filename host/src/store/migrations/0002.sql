-- Turns that are due later stand out of line: their sequence number is the largest there is until
-- they fall due, and then the next one.
CREATE INDEX turn_waiting ON turn (due_ms, id) WHERE seq = 9223372036854775807 AND state = 0;
