-- Rows at rest that belong to no turn, as what was imported: retention takes them by themselves.
CREATE INDEX delivery_loose ON delivery (rested_at_ms)
  WHERE turn_id IS NULL AND about_turn IS NULL AND rested_at_ms IS NOT NULL;
