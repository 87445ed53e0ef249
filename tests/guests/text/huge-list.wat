;; world: lastword:channel/channel@0.1.0
;; Describes itself with 1,500,000 targets, which the host would unpack to several times their
;; size: 36 bytes each in the guest.
(module
  (memory (export "memory") 1024)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 32768)
  (func (export "lastword:channel/adapter@0.1.0#describe") (result i32)
    ;; `targets` is the fourth field of the manifest: its address and its length.
    i32.const 1024
    i32.const 4096
    i32.store offset=24
    i32.const 1024
    i32.const 1500000
    i32.store offset=28
    i32.const 1024)
  (func (export "lastword:channel/adapter@0.1.0#check") (result i32)
    unreachable)
  (func (export "lastword:channel/outbound@0.1.0#send-final") (param i32) (result i32)
    unreachable)
)
