//! Ingress over real sockets, with scripted adapters and a scripted desk behind it.

mod api;
mod hooks;
mod peers;
mod posting;
mod scripted;
