use gastown_api::work_order::ModelOrder;
use gastown_broker::parsers::request;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::{Value, json};

/// Headers that must never leave, whatever the lists say.
const STAY: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-forwarded-host",
];

/// Fields that name another place, another key, or another price.
const FIELDS: &[&str] = &[
    "api_base",
    "api_key",
    "background",
    "base_url",
    "container",
    "conversation",
    "mcp_servers",
    "previous_response_id",
    "prompt",
    "service_tier",
    "speed",
];

/// A request of the agent to its model, as HTTP writes it: a call that passes asks a known path, carries no header and no
/// body that opens the network, the key or the budget.
pub fn model_request(data: &[u8]) {
    let (head, body) = split(data, b"\n\n");
    let Some(head) = parse(head) else { return };
    let order = order();
    let Ok(passed) = request(&head, body, &order) else {
        return;
    };
    let path = passed.path.split_once('?').map_or(passed.path, |(path, _)| path);
    assert_eq!(path, head.uri.path());
    for name in passed.headers.keys() {
        assert!(!STAY.contains(&name.as_str()), "{name}");
    }
    assert!(order.allows(&passed.model), "{}", passed.model);
    let body: Value = serde_json::from_slice(body).expect("what passes is JSON");
    let fields = body.as_object().expect("what passes is an object");
    assert!(!fields.keys().any(|key| FIELDS.contains(&key.as_str())), "{body}");
    assert_eq!(fields["model"], passed.model);
    let tools: &[&str] = match path {
        "/v1/responses" => &["apply_patch", "custom", "function", "local_shell", "namespace"],
        _ => &["custom"],
    };
    for tool in fields
        .get("tools")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let kind = tool["type"].as_str();
        let untyped = kind.is_none() && path != "/v1/responses";
        assert!(
            untyped || kind.is_some_and(|kind| tools.contains(&kind)),
            "{tool}"
        );
    }
    for place in ["system", "messages", "input"] {
        stays_within(fields.get(place).unwrap_or(&Value::Null));
    }
}

/// No block of these names something that the provider would fetch. What a tool was given is text to the provider.
fn stays_within(value: &Value) {
    match value {
        Value::Array(items) => items.iter().for_each(stays_within),
        Value::Object(fields) => {
            let is_data = |field: &str| value[field].as_str().is_some_and(|url| url.starts_with("data:"));
            match value["type"].as_str() {
                Some("image" | "document") => {
                    let source = &value["source"]["type"];
                    assert!(
                        matches!(source.as_str(), Some("base64" | "text" | "content")),
                        "{value}"
                    );
                }
                Some("input_image") => assert!(is_data("image_url"), "{value}"),
                Some("input_file") => assert!(
                    value["file_url"].is_null() && value["file_id"].is_null(),
                    "{value}"
                ),
                _ => {}
            }
            let inner = ["content", "output", "source"];
            let inner = fields.iter().filter(|(name, _)| inner.contains(&name.as_str()));
            inner.for_each(|(_, value)| stays_within(value));
        }
        _ => {}
    }
}

fn order() -> ModelOrder {
    let order = json!({
        "provider": "anthropic", "apis": ["messages", "responses"], "endpoint": "https://api.example",
        "allowedModels": ["claude-*", "gpt-*"], "secret": "s", "prices": {},
    });
    serde_json::from_value(order).expect("it is a model order")
}

fn split<'a>(data: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    let found = data.windows(at.len()).position(|window| window == at);
    found.map_or((data, &[][..]), |place| {
        (&data[..place], &data[place + at.len()..])
    })
}

/// The head of a request, as far as the server would let it in.
fn parse(head: &[u8]) -> Option<Parts> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let uri = Uri::try_from(words.next()?).ok()?;
    let mut request = Request::builder().method(method).uri(uri).body(()).ok()?;
    for line in lines {
        let (name, value) = split(line, b": ");
        let (name, value) = (
            HeaderName::from_bytes(name).ok()?,
            HeaderValue::from_bytes(value).ok()?,
        );
        request.headers_mut().append(name, value);
    }
    Some(request.into_parts().0)
}
