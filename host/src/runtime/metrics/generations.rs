//! Generations of adapters: which serves each channel, and how many are in memory.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::whole;
use crate::runtime::generations::Generations;

/// What is true now.
pub(in crate::runtime) fn register_generations(registry: &mut Registry, all: &Generations) {
    let (numbers, running) = (Of::default(), Of::default());
    for (name, served) in all.all() {
        let told = served.told();
        let number = |pointer: &str| told.pointer(pointer).and_then(serde_json::Value::as_u64);
        let labels = [("channel", name.0.clone())];
        if let Some(number) = number("/current/number") {
            numbers.get_or_create(&labels).set(whole(number));
        }
        let drained = told["draining"].as_array().into_iter().flatten();
        let drained = drained.filter_map(|it| it["running"].as_u64()).sum();
        running.get_or_create(&labels).set(whole(drained));
    }
    let help = "Which generation of its adapter serves each channel, since this start";
    registry.register("lastword_adapter_generation", help, numbers);
    let help = "Calls that still run on generations that were swapped out";
    registry.register("lastword_adapter_draining_calls", help, running);
    let live = Gauge::<i64>::default();
    live.set(whole(all.live() as u64));
    let help = "Generations of adapters in memory: that serve, that are kept, that drain";
    registry.register("lastword_adapter_generations_live", help, live);
}

type Of = Family<[(&'static str, String); 1], Gauge>;
