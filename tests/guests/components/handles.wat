;; Threat 4: makes pollables and keeps them all.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $p (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $m
    (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "run") (result i32)
      (loop $more
        (drop (call $subscribe (i64.const 1000000000)))
        (br $more))
      unreachable))
  (core instance $i (instantiate $m
    (with "" (instance (export "subscribe" (func $subscribe))))))
  (func (export "run") (result u32) (canon lift (core func $i "run"))))
