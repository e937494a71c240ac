//! `peer bench REDIS_URL DIR SECONDS NAME...` measures each name and prints one
//! JSON line for it: nanoseconds per operation, median latency in microseconds.
//!
//! The value is a MessagePack map `{id, name, body}` with 1 KiB of random body;
//! clients have the settings of the `secure` preset, with L1 off but in L1Hit.
//! Names ending in a number have that many callers at once, on two threads; the
//! others one, on one.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachekit::CacheKit;
use cachekit::backend::file::FileBackend;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use crate::Res;

const MASTER_KEY: &str = "4242424242424242424242424242424242424242424242424242424242424242";
const KEYS: usize = 64;
/// Entries that are read in turn in L1, as our own benchmark does: their
/// ciphertexts do not all stay in the nearest cache of the processor.
const L1_KEYS: usize = 500;

#[derive(Clone, Serialize, Deserialize)]
struct Row {
    id: i64,
    name: String,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

/// A row whose body does not compress.
fn row(i: usize) -> Row {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let body = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[0]
    });
    Row {
        id: i as i64,
        name: format!("item {i}"),
        body: body.take(1024).collect(),
    }
}

struct Bench {
    redis: String,
    dir: String,
    time: Duration,
}

/// Nanoseconds per operation, and the latency of each if it was taken.
type Figures = (f64, Vec<Duration>);

impl Bench {
    async fn redis(&self, l1: bool) -> Res<CacheKit> {
        let builder = CacheKit::secure(&self.redis, MASTER_KEY).await?;
        Ok(if l1 { builder } else { builder.no_l1() }.build()?)
    }

    fn file(&self) -> Res<CacheKit> {
        let backend = FileBackend::builder().cache_dir(&self.dir).build()?;
        let builder = CacheKit::builder()
            .backend(Arc::new(backend))
            .default_ttl(Duration::from_secs(600));
        Ok(builder
            .encryption(MASTER_KEY, "default")?
            .reliability(Default::default())
            .no_l1()
            .build()?)
    }

    /// One caller, the latency of every call.
    async fn sequential<F: Future>(&self, mut call: impl FnMut(usize) -> F) -> Figures {
        for i in 0..KEYS {
            call(i).await;
        }
        let (mut latencies, start) = (Vec::with_capacity(1 << 17), Instant::now());
        while start.elapsed() < self.time {
            let t = Instant::now();
            black_box(call(latencies.len()).await);
            latencies.push(t.elapsed());
        }
        (
            start.elapsed().as_nanos() as f64 / latencies.len() as f64,
            latencies,
        )
    }

    /// One caller, no clock read between the calls.
    async fn tight<F: Future>(&self, mut call: impl FnMut(usize) -> F) -> Figures {
        let mut n = 1_u32;
        loop {
            let start = Instant::now();
            for i in 0..n {
                black_box(call(i as usize).await);
            }
            let spent = start.elapsed();
            if spent >= self.time {
                return (spent.as_nanos() as f64 / f64::from(n), vec![]);
            }
            n *= 2;
        }
    }

    /// 16 callers at once.
    async fn concurrent<F: Future<Output = ()> + Send>(
        &self,
        call: impl Fn(usize) -> F + Clone + Send + 'static,
    ) -> Figures {
        let (start, time, mut tasks) = (Instant::now(), self.time, JoinSet::new());
        for caller in 0..16 {
            let call = call.clone();
            tasks.spawn(async move {
                let mut n = 0;
                while start.elapsed() < time {
                    call(caller * 7 + n).await;
                    n += 1;
                }
                n
            });
        }
        let total: usize = tasks.join_all().await.into_iter().sum();
        (start.elapsed().as_nanos() as f64 / total as f64, vec![])
    }

    async fn run(&self, name: &str) -> Res<Figures> {
        let cache = match name {
            "FileGet" | "FileSet" => self.file()?,
            _ => self.redis(name == "L1Hit").await?,
        };
        let count = if name == "L1Hit" { L1_KEYS } else { 100 };
        let keys = Arc::new(
            (0..count)
                .map(|i| format!("peer:rs:{i}"))
                .collect::<Vec<_>>(),
        );
        for (i, key) in keys.iter().enumerate() {
            cache.set(key, &row(i)).await?;
        }
        let row = Arc::new(row(1));
        let get = async |i: usize| {
            cache
                .get::<Row>(&keys[i])
                .await
                .expect("get")
                .expect("a hit")
        };
        let set = async |i: usize| cache.set(&keys[i % KEYS], &*row).await.expect("set");
        let figures = match name {
            "L1Hit" => self.tight(|i| get(i % L1_KEYS)).await,
            "RedisGet" | "FileGet" => self.sequential(|i| get(i % KEYS)).await,
            "RedisSet" | "FileSet" => self.sequential(set).await,
            "RedisGet16" => {
                let (cache, keys) = (cache.clone(), keys.clone());
                let get = move |i: usize| {
                    let (cache, keys) = (cache.clone(), keys.clone());
                    async move {
                        drop(black_box(
                            cache
                                .get::<Row>(&keys[i % KEYS])
                                .await
                                .expect("get")
                                .expect("a hit"),
                        ))
                    }
                };
                self.concurrent(get).await
            }
            "RedisSet16" => {
                let (cache, keys, row) = (cache.clone(), keys.clone(), row.clone());
                let set = move |i: usize| {
                    let (cache, keys, row) = (cache.clone(), keys.clone(), row.clone());
                    async move { cache.set(&keys[i % KEYS], &*row).await.expect("set") }
                };
                self.concurrent(set).await
            }
            "RedisGet100" => {
                let batch = async |_| {
                    let mut tasks = JoinSet::new();
                    for i in 0..keys.len() {
                        let (cache, keys) = (cache.clone(), keys.clone());
                        tasks.spawn(async move {
                            cache
                                .get::<Row>(&keys[i])
                                .await
                                .expect("get")
                                .expect("a hit")
                        });
                    }
                    tasks.join_all().await
                };
                self.sequential(batch).await
            }
            _ => return Err(format!("no measurement {name}").into()),
        };
        if name == "L1Hit" && cache.stats().l2_hits > 0 {
            return Err("an L1 measurement left L1".into());
        }
        Ok(figures)
    }
}

pub fn main(args: &[String]) -> Res {
    let [redis, dir, seconds, names @ ..] = args else {
        return Err("usage: peer bench REDIS_URL DIR SECONDS NAME...".into());
    };
    let bench = Bench {
        redis: redis.clone(),
        dir: dir.clone(),
        time: Duration::from_secs_f64(seconds.parse()?),
    };
    for name in names {
        let mut runtime = if name.ends_with("16") || name.ends_with("100") {
            tokio::runtime::Builder::new_multi_thread()
        } else {
            tokio::runtime::Builder::new_current_thread()
        };
        let (ns, mut latencies) = runtime
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(bench.run(name))?;
        latencies.sort_unstable();
        let p50 = latencies
            .get(latencies.len() / 2)
            .map(|d| d.as_nanos() as f64 / 1e3);
        println!("{}", json!({"name": name, "ns": ns, "p50_us": p50}));
    }
    Ok(())
}
