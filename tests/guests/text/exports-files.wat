;; world: exports-files
;; Offers `files`, which this host does not serve yet: refused.
(module
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const 65536)
  (func (export "lastword:channel/adapter@0.1.0#describe") (result i32)
    unreachable)
  (func (export "lastword:channel/adapter@0.1.0#check") (result i32)
    unreachable)
  (func (export "lastword:channel/outbound@0.1.0#send-final") (param i32) (result i32)
    unreachable)
  (func (export "lastword:channel/files@0.1.0#download") (param i32) (result i32)
    unreachable)
)
