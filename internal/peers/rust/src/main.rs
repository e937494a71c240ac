//! The published Rust SDK as a program that the Go tests and benchmarks talk to.
//!
//! `peer`: each line on stdin is a request `{"op": name, ...}`, each line on
//! stdout its reply, `{"ok": ...}` or `{"error": {"type": ..., "text": ...}}`.
//! `peer bench REDIS_URL DIR SECONDS NAME...`: see bench.rs.

mod bench;
mod client;
mod tagged;

use std::io::{BufRead, Write};

use cachekit::CachekitError;
use serde_json::{Value as Json, json};

pub type Res<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn kind(err: &(dyn std::error::Error + 'static)) -> &'static str {
    match err.downcast_ref::<CachekitError>() {
        Some(CachekitError::Backend(_)) => "Backend",
        Some(CachekitError::Serialization(_)) => "Serialization",
        Some(CachekitError::Encryption(_)) => "Encryption",
        Some(CachekitError::Config(_)) => "Config",
        Some(CachekitError::PayloadTooLarge { .. }) => "PayloadTooLarge",
        Some(CachekitError::InvalidKey(_)) => "InvalidKey",
        _ => "Peer",
    }
}

async fn serve() -> Res {
    let (mut clients, mut out) = (client::Clients::default(), std::io::stdout());
    for line in std::io::stdin().lock().lines() {
        let request: Json = serde_json::from_str(&line?)?;
        let reply = match clients.handle(&request).await {
            Ok(ok) => json!({"ok": ok}),
            Err(e) => json!({"error": {"type": kind(&*e), "text": e.to_string()}}),
        };
        writeln!(out, "{reply}")?;
        out.flush()?;
    }
    Ok(())
}

fn main() -> Res {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        None => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(serve()),
        Some((mode, rest)) if mode == "bench" => bench::main(rest),
        Some((mode, _)) => Err(format!("no mode {mode}").into()),
    }
}
