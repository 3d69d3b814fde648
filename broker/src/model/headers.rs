//! Which headers pass. Everything that is not named here is dropped, so that no header can carry a key, name another
//! host, or switch on a feature that opens the network.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::Refusal;

/// Request headers that pass. `accept-encoding` does not: a compressed answer would hide its usage.
const REQUEST: &[&str] = &[
    "content-type",
    "accept",
    "anthropic-version",
    "user-agent",
    "x-app",
    // Codex names itself, and says in which of two forms of the Responses API it speaks.
    "originator",
    "x-openai-internal-codex-responses-lite",
];

/// Prefixes of request headers that pass: the client library's description of itself.
const REQUEST_PREFIXES: &[&str] = &["x-stainless-"];

/// Betas that pass, by their names without the date: those that Claude Code 2.1.330 was seen to send or names for the
/// Messages API, and that let the provider neither fetch, run, store nor remember anything, nor bill by another price
/// than the answer's usage tells (a cache for an hour is told there). Others are dropped.
const BETAS: &[&str] = &[
    "adaptive-thinking",
    "advanced-tool-use",
    "claude-code",
    "context-management",
    "effort",
    "extended-cache-ttl",
    "fine-grained-tool-streaming",
    "inline-tools",
    "interleaved-thinking",
    "mid-conversation-system",
    "mid-conversation-system-clear-at",
    "mid-conversation-tool-changes",
    "per-turn-control",
    "prompt-caching-evict",
    "prompt-caching-scope",
    "redact-thinking",
    "structured-outputs",
    "task-budgets",
    "thinking-binding-controls",
    "thinking-display-updates",
    "thinking-resumption",
    "thinking-token-count",
    "token-counting",
    "token-efficient-tools",
];

/// The beta that serves prompts of more than 200,000 tokens, to older models at other prices: it passes where the price
/// table has them, or no price at all.
const LONG_CONTEXT: &str = "context-1m-2025-08-07";

/// Response headers that pass.
const RESPONSE: &[&str] = &["content-type", "request-id", "retry-after", "cache-control"];

/// The name of the header with betas.
const BETA: &str = "anthropic-beta";

/// The beta that makes Anthropic take a subscription's token.
pub(super) const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Refuses what could make two parsers see two requests.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    // The server takes a chunked body with a length too, and drops the length before this sees it. Claude Code sends a
    // length alone, so nothing is lost by refusing whatever is chunked.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refusal::bad_request(
            "transfer-encoding is not served; send the body with content-length",
        ));
    }
    if headers.contains_key(header::UPGRADE) {
        return Err(Refusal::bad_request("upgrade is not served"));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::bad_request(
            "content-encoding is not served; send the body as it is",
        ));
    }
    Ok(())
}

/// The headers of the upstream request, without the key. `long_context` says whether a long prompt can be charged.
pub(super) fn request(headers: &HeaderMap, long_context: bool) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        let known = REQUEST.contains(&name.as_str());
        if known
            || REQUEST_PREFIXES
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
        {
            passed.append(name.clone(), value.clone());
        }
    }
    if let Some(betas) = betas(headers, long_context) {
        passed.insert(HeaderName::from_static(BETA), betas);
    }
    passed
}

/// The headers of the answer to the agent.
pub(super) fn response(headers: &HeaderMap) -> HeaderMap {
    let pass = |name: &'static str| Some((HeaderName::from_static(name), headers.get(name)?.clone()));
    RESPONSE.iter().copied().filter_map(pass).collect()
}

/// Names one more beta.
pub(super) fn add_beta(headers: &mut HeaderMap, beta: &'static str) {
    let all = headers.get(BETA).and_then(|value| value.to_str().ok());
    let all = all.map_or_else(|| beta.to_owned(), |all| format!("{all},{beta}"));
    if let Ok(all) = HeaderValue::try_from(all) {
        headers.insert(HeaderName::from_static(BETA), all);
    }
}

fn betas(headers: &HeaderMap, long_context: bool) -> Option<HeaderValue> {
    let all = headers
        .get_all(BETA)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let names = all
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let may_pass = |name: &&str| BETAS.contains(&undated(name)) || (long_context && *name == LONG_CONTEXT);
    let passed: Vec<&str> = names.filter(may_pass).collect();
    HeaderValue::try_from(passed.join(","))
        .ok()
        .filter(|value| !value.is_empty())
}

/// `effort` of `effort-2025-11-24` and `claude-code` of `claude-code-20250219`.
fn undated(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn keys_hosts_cookies_and_encodings_do_not_pass() {
        let sent = map(&[
            ("x-api-key", "dummy"),
            ("authorization", "Bearer x"),
            ("host", "other"),
            ("cookie", "a=b"),
            ("accept-encoding", "gzip"),
            ("x-forwarded-host", "other"),
            ("anthropic-version", "2023-06-01"),
            ("x-stainless-lang", "js"),
        ]);
        let passed = request(&sent, true);
        let names: Vec<_> = passed.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["anthropic-version", "x-stainless-lang"]);
    }

    #[test]
    fn betas_of_claude_code_pass_and_strange_ones_are_dropped() {
        const SEEN: &str = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,\
            per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,\
            advanced-tool-use-2025-11-20,effort-2025-11-24,thinking-display-updates-2026-08-18,context-1m-2025-08-07";
        let seen = map(&[("anthropic-beta", SEEN)]);
        assert_eq!(request(&seen, true).get(BETA).unwrap(), SEEN);
        let priced = SEEN.replace(",context-1m-2025-08-07", "");
        assert_eq!(request(&seen, false).get(BETA).unwrap(), &priced);
        let sent = map(&[(
            "anthropic-beta",
            "mcp-client-2025-04-04, effort-2025-11-24 ,web-fetch-2025-09-10,advisor-tool-2026-03-01,effort-x,context-1m-2027-01-01",
        )]);
        assert_eq!(request(&sent, true).get(BETA).unwrap(), "effort-2025-11-24");
        let priced_otherwise = map(&[(
            "anthropic-beta",
            "files-api-2025-04-14,fast-mode-2026-02-01,server-side-fallback-2026-07-01",
        )]);
        let none = request(&priced_otherwise, true);
        assert!(none.get(BETA).is_none());
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        assert!(check(&map(&[("transfer-encoding", "chunked"), ("content-length", "5")])).is_err());
        assert!(check(&map(&[("transfer-encoding", "chunked")])).is_err());
        assert!(check(&map(&[("upgrade", "websocket")])).is_err());
        assert!(check(&map(&[("content-length", "5")])).is_ok());
    }

    #[test]
    fn only_harmless_headers_of_the_answer_reach_the_agent() {
        let passed = response(&map(&[
            ("content-type", "text/event-stream"),
            ("set-cookie", "a=b"),
            ("anthropic-organization-id", "x"),
        ]));
        assert_eq!(passed, map(&[("content-type", "text/event-stream")]));
    }
}
