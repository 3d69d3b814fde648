//! JSON in which no key stands twice: of two equal keys our parser might take one and the provider's the other. And
//! without more values than a conversation has: a parsed value takes many times the bytes it is written in.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::de::Read;
use serde_json::{Map, Value};

use super::shorten::Shortened;

/// The most values of a body, of which an object counts as several: it takes as much memory. A conversation of a
/// million tokens has some ten thousand.
const MAX_VALUES: u32 = 100_000;
const OBJECT: u32 = 4;

/// Larger bodies are read without most of their long strings.
const LARGE: usize = 4 * 1024 * 1024;

/// A JSON value without duplicate keys, at any depth.
#[derive(Debug)]
pub(super) struct UniqueKeys(pub Value);

impl UniqueKeys {
    /// Reads one whole value; of a large one, long strings are cut.
    pub(super) fn read(bytes: &[u8]) -> serde_json::Result<Self> {
        if bytes.len() > LARGE {
            whole(serde_json::Deserializer::from_reader(Shortened::new(bytes)))
        } else {
            whole(serde_json::Deserializer::from_slice(bytes))
        }
    }
}

fn whole<'de>(mut deserializer: serde_json::Deserializer<impl Read<'de>>) -> serde_json::Result<UniqueKeys> {
    let left = Cell::new(MAX_VALUES);
    let value = Reader { left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(UniqueKeys(value))
}

/// Reads one value, as long as some are left.
#[derive(Clone, Copy)]
struct Reader<'a> {
    left: &'a Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count(1)?;
        deserializer.deserialize_any(self)
    }
}

impl Reader<'_> {
    fn count<E: Error>(self, values: u32) -> Result<(), E> {
        let left = self.left.get().checked_sub(values);
        self.left
            .set(left.ok_or_else(|| E::custom(format_args!("it has more than {MAX_VALUES} values")))?);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.count(OBJECT - 1)?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("key {key:?} stands twice")));
            }
            let value = access.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        for json in [r#"{"a":1,"a":2}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = UniqueKeys::read(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("\"a\" stands twice"), "{error}");
        }
        let same = UniqueKeys::read(br#"{"a":[1,-2,0.5,null,true,"x"]}"#).unwrap();
        assert_eq!(same.0, serde_json::json!({"a": [1, -2, 0.5, null, true, "x"]}));
        assert!(UniqueKeys::read(b"{} {}").is_err());
    }

    #[test]
    fn a_body_of_nothing_but_values_is_refused() {
        let json = format!("[{}0]", "0,".repeat(1_000_000));
        let error = UniqueKeys::read(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("100000 values"), "{error}");
        let json = format!("[{}0]", r#"{"a":0},"#.repeat(30_000));
        assert!(UniqueKeys::read(json.as_bytes()).is_err());
    }

    #[test]
    fn a_large_body_is_read_without_its_long_strings() {
        let text = "x".repeat(LARGE + 1);
        let json = format!(r#"{{"model":"claude-x","messages":["{text}"],"mcp_servers":[]}}"#);
        let UniqueKeys(value) = UniqueKeys::read(json.as_bytes()).unwrap();
        assert_eq!(value["model"], "claude-x");
        assert!(value["messages"][0].as_str().unwrap().len() < 1000);
        assert!(value.get("mcp_servers").is_some());
        let twice = format!(r#"{{"a":"{text}","a":1}}"#);
        assert!(
            UniqueKeys::read(twice.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("stands twice")
        );
    }
}
