;; world: lastword:channel/channel@0.1.0
;; Never finishes `describe`.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 32768)
  (func (export "lastword:channel/adapter@0.1.0#describe") (result i32)
    (loop $forever (br $forever))
    unreachable)
  (func (export "lastword:channel/adapter@0.1.0#check") (result i32)
    unreachable)
  (func (export "lastword:channel/outbound@0.1.0#send-final") (param i32) (result i32)
    unreachable)
)
