//! Requests, carried out by clients built as the crate's users build them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cachekit::backend::cachekitio::CachekitIO;
use cachekit::backend::file::FileBackend;
use cachekit::backend::memcached::MemcachedBackend;
use cachekit::backend::redis::RedisBackend;
use cachekit::backend::{Backend, LockableBackend, TtlInspectable};
use cachekit::{CacheKit, SharedBackend, interop};
use rmpv::Value;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{Res, tagged};

#[derive(Default)]
pub struct Clients {
    stores: HashMap<String, Store>,
    /// Ids of the locks that are held, by store and key.
    locks: HashMap<(String, String), String>,
}

/// A client, and the service behind it if that is CachekitIO, whose locks and TTLs
/// no client offers.
struct Store {
    client: CacheKit,
    io: Option<Arc<CachekitIO>>,
}

/// The settings of one client. Without `key` it does not encrypt; the keys
/// come from the environment if `env` is set.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    redis: Option<String>,
    file: Option<String>,
    memcached: Option<Vec<String>>,
    api_key: Option<String>,
    key: Option<String>,
    previous: Vec<String>,
    env: bool,
    tenant: String,
    namespace: Option<String>,
    l1: bool,
}

impl Default for Config {
    fn default() -> Self {
        let tenant = "default".into();
        Config {
            redis: None,
            file: None,
            memcached: None,
            api_key: None,
            key: None,
            previous: vec![],
            env: false,
            tenant,
            namespace: None,
            l1: false,
        }
    }
}

async fn open(config: &Config) -> Res<Store> {
    let mut io = None;
    let backend: SharedBackend = if let Some(url) = &config.redis {
        let redis = RedisBackend::builder().url(url.as_str()).build()?;
        drop(redis.connect().await?);
        Arc::new(redis)
    } else if let Some(dir) = &config.file {
        Arc::new(FileBackend::builder().cache_dir(dir).build()?)
    } else if let Some(servers) = &config.memcached {
        let [server] = servers.as_slice() else {
            return Err(
                "this SDK shares keys out among servers in a way of its own: one server".into(),
            );
        };
        Arc::new(MemcachedBackend::builder().url(server).connect().await?)
    } else if let Some(key) = &config.api_key {
        io.insert(Arc::new(CachekitIO::builder().api_key(key).build()?))
            .clone()
    } else {
        return Err("no storage".into());
    };
    let mut builder = CacheKit::builder().backend(backend);
    if config.env {
        builder = builder.encryption_from_env()?;
    } else if let Some(key) = &config.key {
        let previous: Vec<&str> = config.previous.iter().map(String::as_str).collect();
        builder = builder.encryption_with_previous(key, &previous, &config.tenant)?;
    }
    if let Some(namespace) = &config.namespace {
        builder = builder.namespace(namespace);
    }
    if !config.l1 {
        builder = builder.no_l1();
    }
    Ok(Store {
        client: builder.build()?,
        io,
    })
}

fn field<'a>(request: &'a Json, name: &str) -> Res<&'a str> {
    Ok(request[name]
        .as_str()
        .ok_or_else(|| format!("the request lacks {name}"))?)
}

fn interop_key(request: &Json) -> Res<String> {
    let args = tagged::arguments(request["args"].as_array().ok_or("the request lacks args")?)?;
    Ok(interop::interop_key(
        field(request, "namespace")?,
        field(request, "operation")?,
        &args,
    )?)
}

impl Clients {
    pub async fn handle(&mut self, request: &Json) -> Res<Json> {
        match field(request, "op")? {
            "key" => return Ok(interop_key(request)?.into()),
            "open" => {
                let config = Config::deserialize(request)?;
                self.stores
                    .insert(field(request, "name")?.to_owned(), open(&config).await?);
                return Ok(Json::Null);
            }
            "lock" | "unlock" | "ttl" | "touch" | "health" => return self.service(request).await,
            _ => {}
        }
        let client = &self
            .stores
            .get(field(request, "store")?)
            .ok_or("no such store")?
            .client;
        if request["op"] == "stats" {
            let previous = client
                .secure_cache()
                .map(|s| s.previous_key_hits())
                .unwrap_or_default();
            let stats = client.stats();
            return Ok(
                json!({"l1_hits": stats.l1_hits, "l2_hits": stats.l2_hits, "misses": stats.misses, "previous_key_hits": previous}),
            );
        }
        // An interop entry names its operation, any other its key.
        let interop = request["operation"].is_string();
        let key = if interop {
            interop_key(request)?
        } else {
            field(request, "key")?.to_owned()
        };
        match field(request, "op")? {
            "set" => {
                let ttl = Duration::from_secs_f64(request["ttl"].as_f64().unwrap_or(600.0));
                client
                    .set_with_ttl(&key, &tagged::value(&request["value"])?, ttl)
                    .await?;
                Ok(Json::Null)
            }
            "get" => {
                let found: Option<Value> = if interop {
                    client.interop_get(&key).await?
                } else {
                    client.get(&key).await?
                };
                Ok(match found {
                    Some(v) => json!({"found": true, "value": tagged::reply(&v)?}),
                    None => json!({"found": false}),
                })
            }
            "delete" => Ok(client.delete(&key).await?.into()),
            "exists" => Ok(client.exists(&key).await?.into()),
            op => Err(format!("no operation {op}").into()),
        }
    }

    /// What only the service's own interface offers.
    async fn service(&mut self, request: &Json) -> Res<Json> {
        let name = field(request, "store")?;
        let store = self.stores.get(name).ok_or("no such store")?;
        let io = store.io.as_ref().ok_or("not on CachekitIO")?;
        if request["op"] == "health" {
            let health = io.health().await?;
            return Ok(json!({"healthy": health.is_healthy, "type": health.backend_type}));
        }
        let key = field(request, "key")?;
        let seconds = |name: &str| Duration::from_secs_f64(request[name].as_f64().unwrap_or(0.0));
        match field(request, "op")? {
            "ttl" => Ok(json!(io.ttl(key).await?.map(|ttl| ttl.as_secs()))),
            "touch" => Ok(io.refresh_ttl(key, seconds("ttl")).await?.into()),
            "lock" => {
                let lease = u64::try_from(seconds("lease").as_millis())?;
                let id = io.acquire_lock(key, lease).await?;
                let held = id.is_some();
                if let Some(id) = id {
                    self.locks.insert((name.to_owned(), key.to_owned()), id);
                }
                Ok(held.into())
            }
            _ => {
                let id = self.locks.remove(&(name.to_owned(), key.to_owned()));
                Ok(io.release_lock(key, &id.ok_or("not locked")?).await?.into())
            }
        }
    }
}
