//! The tagged JSON in which the tests write arguments and values; python/tagged.py
//! describes it. In arguments a time is `{"$micros": "n"}`, since the epoch.

use cachekit::interop::InteropValue;
use rmpv::Value;
use serde_json::{Map, Value as Json, json};

use crate::Res;

/// A tag and its body, or None for an object that stands for itself.
fn tag(object: &Map<String, Json>) -> Option<(&str, &Json)> {
    let (key, body) = object.iter().next()?;
    (object.len() == 1 && key.starts_with('$')).then_some((key.as_str(), body))
}

fn text(body: &Json) -> Res<&str> {
    Ok(body.as_str().ok_or("a tag's body is not a string")?)
}

/// The pairs of a `$map` or of a plain object.
fn pairs<T>(object: &Map<String, Json>, decode: fn(&Json) -> Res<T>) -> Res<Vec<(String, T)>> {
    if let Some(("$map", body)) = tag(object) {
        let list = body.as_array().ok_or("$map is not a list")?;
        return list
            .iter()
            .map(|p| Ok((text(&p[0])?.to_owned(), decode(&p[1])?)))
            .collect();
    }
    object
        .iter()
        .map(|(k, v)| Ok((k.clone(), decode(v)?)))
        .collect()
}

/// An argument of an interop key.
pub fn argument(v: &Json) -> Res<InteropValue> {
    Ok(match v {
        Json::Null => InteropValue::Null,
        Json::Bool(b) => InteropValue::Bool(*b),
        Json::Number(n) => InteropValue::Int(n.as_i128().ok_or("a number needs a tag")?),
        Json::String(s) => InteropValue::Str(s.clone()),
        Json::Array(items) => InteropValue::Array(arguments(items)?),
        Json::Object(object) => match tag(object) {
            Some(("$bytes", body)) => InteropValue::bytes(hex::decode(text(body)?)?),
            Some(("$float", body)) => InteropValue::Float(text(body)?.parse()?),
            Some(("$int", body)) => InteropValue::Int(text(body)?.parse()?),
            Some(("$micros", body)) => {
                InteropValue::datetime_from_unix_micros(text(body)?.parse()?)
            }
            Some(("$uuid", body)) => InteropValue::Uuid(text(body)?.parse()?),
            Some(("$set", body)) => {
                InteropValue::Set(arguments(body.as_array().ok_or("$set is not a list")?)?)
            }
            _ => InteropValue::Map(pairs(object, argument)?.into_iter().collect()),
        },
    })
}

pub fn arguments(items: &[Json]) -> Res<Vec<InteropValue>> {
    items.iter().map(argument).collect()
}

/// A value to store. Temporal values are the sentinel maps that the crate's
/// documentation asks its users to build.
pub fn value(v: &Json) -> Res<Value> {
    let sentinel = |kind: &str, body: &Json| -> Res<Value> {
        Ok(Value::Map(vec![
            (kind.into(), true.into()),
            ("value".into(), text(body)?.into()),
        ]))
    };
    Ok(match v {
        Json::Null => Value::Nil,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => match n.as_u64() {
            Some(u) => u.into(),
            None => n.as_i64().ok_or("a number needs a tag")?.into(),
        },
        Json::String(s) => s.as_str().into(),
        Json::Array(items) => Value::Array(items.iter().map(value).collect::<Res<_>>()?),
        Json::Object(object) => match tag(object) {
            Some(("$bytes", body)) => Value::Binary(hex::decode(text(body)?)?),
            Some(("$float", body)) => Value::F64(text(body)?.parse()?),
            Some(("$int", body)) => match text(body)?.parse::<u64>() {
                Ok(u) => u.into(),
                Err(_) => text(body)?.parse::<i64>()?.into(),
            },
            Some(("$datetime", body)) => sentinel("__datetime__", body)?,
            Some(("$date", body)) => sentinel("__date__", body)?,
            Some(("$time", body)) => sentinel("__time__", body)?,
            _ => Value::Map(
                pairs(object, value)?
                    .into_iter()
                    .map(|(k, v)| (k.into(), v))
                    .collect(),
            ),
        },
    })
}

/// A value that was read.
pub fn reply(v: &Value) -> Res<Json> {
    Ok(match v {
        Value::Nil => Json::Null,
        Value::Boolean(b) => json!(b),
        Value::Integer(i) => match (i.as_u64(), i.as_i64()) {
            (Some(u), _) => json!(u),
            (_, i) => json!(i),
        },
        Value::F32(f) => json!({"$float": f.to_string()}),
        Value::F64(f) => json!({"$float": f.to_string()}),
        Value::String(s) => json!(s.as_str().ok_or("a string is not UTF-8")?),
        Value::Binary(b) => json!({"$bytes": hex::encode(b)}),
        Value::Array(items) => Json::Array(items.iter().map(reply).collect::<Res<_>>()?),
        Value::Map(entries) => map(entries)?,
        Value::Ext(..) => return Err("an extension type".into()),
    })
}

fn map(entries: &[(Value, Value)]) -> Res<Json> {
    let pairs = entries
        .iter()
        .map(|(k, v)| Ok((k.as_str().ok_or("a map key is no string")?, reply(v)?)))
        .collect::<Res<Vec<_>>>()?;
    if let [("value", body), (kind, Json::Bool(true))]
    | [(kind, Json::Bool(true)), ("value", body)] = pairs.as_slice()
    {
        match *kind {
            "__datetime__" => return Ok(json!({"$datetime": body})),
            "__date__" => return Ok(json!({"$date": body})),
            "__time__" => return Ok(json!({"$time": body})),
            _ => {}
        }
    }
    if pairs.iter().any(|(k, _)| k.starts_with('$')) {
        return Ok(json!({"$map": pairs}));
    }
    Ok(Json::Object(
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    ))
}
