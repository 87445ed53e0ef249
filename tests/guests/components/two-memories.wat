;; Threat 3: two modules with a memory each; `run` grows one after the other, page by page, and gives
;; how many pages both got.
(component
  (core module $grower
    (memory 1)
    (func (export "grow") (result i32)
      (local $pages i32)
      (loop $more
        (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
          (then
            (local.set $pages (i32.add (local.get $pages) (i32.const 1)))
            (br $more))))
      (local.get $pages)))
  (core instance $one (instantiate $grower))
  (core instance $two (instantiate $grower))
  (core module $both
    (import "one" "grow" (func $one (result i32)))
    (import "two" "grow" (func $two (result i32)))
    (func (export "run") (result i32) (i32.add (call $one) (call $two))))
  (core instance $sum (instantiate $both (with "one" (instance $one)) (with "two" (instance $two))))
  (func (export "run") (result u32) (canon lift (core func $sum "run"))))
