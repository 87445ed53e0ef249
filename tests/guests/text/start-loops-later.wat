;; world: lastword:channel/channel@0.1.0
;; Describes itself well, since its start function asks the time first: `describe` is told the same
;; one always. At any other time it never gets through its start function.
(module
  (import "lastword:channel/env@0.1.0" "now-ms" (func $now_ms (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 2048) "start-loops-later")
  (data (i32.const 2080) "1.0.0")
  (data (i32.const 2096) "Good while it is looked at.")
  (data (i32.const 2128) "{\"type\":\"object\"}")
  ;; Name, version, summary, no targets, no secrets, the schema: address and length of each.
  (data (i32.const 1024) "\00\08\00\00\11\00\00\00" "\20\08\00\00\05\00\00\00"
    "\30\08\00\00\1b\00\00\00" "\00\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00"
    "\50\08\00\00\11\00\00\00")
  (func $start
    (if (i64.ne (call $now_ms) (i64.const 1735689600000))
      (then (loop $forever (br $forever)))))
  (start $start)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 32768)
  (func (export "lastword:channel/adapter@0.1.0#describe") (result i32)
    i32.const 1024)
  (func (export "lastword:channel/adapter@0.1.0#check") (result i32)
    i32.const 512)
  (func (export "lastword:channel/outbound@0.1.0#send-final") (param i32) (result i32)
    unreachable)
)
