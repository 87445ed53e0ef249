;; world: lastword:channel/channel@0.1.0
;; Asks for its settings in `describe`, where there are none yet: the call traps.
(module
  (import "lastword:channel/settings@0.1.0" "public-url" (func $public_url (param i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 32768)
  (func (export "lastword:channel/adapter@0.1.0#describe") (result i32)
    i32.const 16
    call $public_url
    i32.const 1024)
  (func (export "lastword:channel/adapter@0.1.0#check") (result i32)
    unreachable)
  (func (export "lastword:channel/outbound@0.1.0#send-final") (param i32) (result i32)
    unreachable)
)
