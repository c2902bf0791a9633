//! REST: a route for every tool, as its entry says, and nothing that knows a tool by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::http::problem;
use super::openapi;
use crate::app::Caller;
use crate::error::{Code, Error, Result};
use crate::registry::{Call, Described, Effect, Registry, coerce};

/// The fields that the gate reads, which HTTP has headers for; they may stand among the tool's own fields, too.
pub const HEADERS: [(&str, &str); 2] = [("idempotency-key", "request_id"), ("x-hearth-approval", "approval_id")];

type Texts = BTreeMap<String, Vec<String>>;

/// An error, and the status where it is not the one of its code.
struct Refusal(Option<StatusCode>, Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal(None, error)
    }
}

pub fn router(registry: &Arc<Registry>) -> Router {
    let mut routes: BTreeMap<&str, MethodRouter> = BTreeMap::new();
    for tool in registry.all() {
        let Ok(filter) = MethodFilter::try_from(tool.method.clone()) else {
            continue;
        };
        let (registry, name) = (Arc::clone(registry), tool.entry.name);
        let handler = on(filter, move |request: Request| async move { handle(&registry, name, request).await });
        let route = routes.remove(tool.path).unwrap_or_default().merge(handler);
        routes.insert(tool.path, route);
    }
    let described = Arc::clone(registry);
    routes.insert(
        openapi::PATH,
        on(MethodFilter::GET, move |request: Request| async move { describe(&described, &request) }),
    );
    routes.into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route))
}

async fn handle(registry: &Arc<Registry>, name: &str, request: Request) -> Response {
    match call(registry, name, request).await {
        Ok(response) => response,
        Err(Refusal(None, error)) => problem::respond(&error),
        Err(Refusal(Some(status), error)) => problem::respond_as(status, &error),
    }
}

async fn call(registry: &Arc<Registry>, name: &str, request: Request) -> Result<Response, Refusal> {
    let tool = registry.find(name).ok_or_else(|| Error::not_found(format_args!("no tool `{name}`")))?;
    let (mut parts, body) = request.into_parts();
    let caller = caller(&parts)?;
    let input = input(tool, &mut parts, body).await?;

    let mut call = Call::new(caller, name, input);
    // When the client goes, this future is dropped, and the call is told.
    let cancel = CancellationToken::new();
    call.cancel = cancel.clone();
    let _cancels_when_dropped = cancel.drop_guard();
    let output = registry.invoke(call).await?;
    Ok(answer(tool.entry.effect, &parts.headers, &output)?)
}

fn describe(registry: &Registry, request: &Request) -> Response {
    let Some(caller) = request.extensions().get::<Arc<Caller>>() else {
        return problem::respond(&nobody());
    };
    match answer(Effect::Read, request.headers(), &openapi::document(registry, caller)) {
        Ok(response) => response,
        Err(error) => problem::respond(&error),
    }
}

fn caller(parts: &request::Parts) -> Result<Arc<Caller>> {
    parts.extensions.get::<Arc<Caller>>().cloned().ok_or_else(nobody)
}

fn nobody() -> Error {
    Error::new(Code::Unauthenticated, "the request names no caller")
}

/// The tool's input out of the path, the query or body, and the headers.
async fn input(tool: &Described, parts: &mut request::Parts, body: Body) -> Result<Value, Refusal> {
    let path = path_texts(parts).await?;
    let query = query_texts(parts)?;
    let mut input = if takes_body(&tool.method) {
        if let Some(name) = query.keys().next() {
            return Err(Error::invalid(name, "unknown parameter of the query; fields go into the body").into());
        }
        // The layer before has read the body within its limit.
        let bytes = to_bytes(body, usize::MAX).await.map_err(Error::internal)?;
        json_object(&parts.headers, &bytes)?
    } else {
        object(coerce::coerce(&tool.input, &query))
    };
    for (name, value) in object(coerce::coerce(&tool.input, &path)) {
        if input.contains_key(&name) {
            return Err(Error::invalid(name, "is given by the path").into());
        }
        input.insert(name, value);
    }
    for (header, field) in HEADERS {
        let Some(text) = header_text(&parts.headers, header)? else {
            continue;
        };
        if input.get(field).is_some_and(|value| *value != text) {
            return Err(Error::invalid(field, format_args!("differs from the header `{header}`")).into());
        }
        input.insert(field.to_owned(), text);
    }
    Ok(Value::Object(input))
}

pub fn takes_body(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::DELETE)
}

async fn path_texts(parts: &mut request::Parts) -> Result<Texts> {
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Error::new(Code::InvalidInput, "the path is not UTF-8"))?;
    Ok(params.iter().map(|(name, text)| (name.to_owned(), vec![text.to_owned()])).collect())
}

fn query_texts(parts: &request::Parts) -> Result<Texts> {
    let mut texts = Texts::new();
    for (name, text) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        // The token of another protocol's clients; it must not come this way, so it is as if it were not there.
        if name == "access_token" {
            continue;
        }
        texts.entry(name.into_owned()).or_default().push(text.into_owned());
    }
    Ok(texts)
}

/// The body as an object; none at all is an empty one.
fn json_object(headers: &HeaderMap, bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let media_type = headers.get(header::CONTENT_TYPE);
    if bytes.is_empty() && media_type.is_none() {
        return Ok(Map::new());
    }
    if !media_type.is_some_and(is_json) {
        let error = Error::new(Code::InvalidInput, "the body has to be `application/json`");
        return Err(Refusal(Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), error));
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Code::InvalidInput, format_args!("the body is not JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(Error::new(Code::InvalidInput, "the body has to be a JSON object").into());
    };
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.is_null()) {
        return Err(Error::invalid(name, "null is no value; leave the field out").into());
    }
    Ok(fields)
}

pub fn is_json(media_type: &HeaderValue) -> bool {
    let Ok(text) = media_type.to_str() else {
        return false;
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_utf8 = |parameter: &str| {
        let parameter = parameter.trim().to_ascii_lowercase().replace('"', "");
        parameter.is_empty() || parameter == "charset=utf-8"
    };
    essence.trim().eq_ignore_ascii_case("application/json") && parameters.split(';').all(is_utf8)
}

fn header_text(headers: &HeaderMap, name: &str) -> Result<Option<Value>> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), rest) = (values.next(), values.next()) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if rest.is_none() => Ok(Some(Value::from(text.trim()))),
        _ => Err(Error::invalid(name, "must be one header of plain characters")),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// JSON; for a read with the tag that spares a client the same answer twice.
fn answer(effect: Effect, request: &HeaderMap, output: &Value) -> Result<Response> {
    let bytes = serde_json::to_vec(output).map_err(Error::internal)?;
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    if effect == Effect::Read {
        let tag = format!("\"{}\"", &blake3::hash(&bytes).to_hex()[..32]);
        let is_known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| matches_tag(value, &tag));
        headers.insert(header::ETAG, HeaderValue::try_from(tag).map_err(Error::internal)?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("authorization"));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
    } else {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

/// RFC 9110, 13.1.2: weak comparison against any of the list.
fn matches_tag(value: &HeaderValue, tag: &str) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    text.trim() == "*" || text.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        let matches = |text: &'static str| matches_tag(&HeaderValue::from_static(text), "\"a\"");
        assert!(matches("\"a\"") && matches("*") && matches("\"b\", W/\"a\""));
        assert!(!matches("a") && !matches("\"b\"") && !matches(""));
    }

    #[test]
    fn json_is_utf8_json() {
        let is = |text: &'static str| is_json(&HeaderValue::from_static(text));
        assert!(
            is("application/json") && is("Application/JSON; charset=UTF-8") && is("application/json;charset=\"utf-8\"")
        );
        assert!(!is("text/plain") && !is("application/json; charset=latin1") && !is("application/jsonp"));
    }
}
