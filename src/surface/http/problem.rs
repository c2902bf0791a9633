//! Errors as problem details (RFC 9457).

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::app::App;
use crate::error::{Code, Error};

pub const MEDIA_TYPE: &str = "application/problem+json";

/// The answer to a failed call.
pub fn respond(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond_as(status, error)
}

/// The answer to what HTTP tells apart more finely than [`Code`] does, such as 405 and 415.
pub fn respond_as(status: StatusCode, error: &Error) -> Response {
    let mut response = Response::new(Body::from(document(status, error).to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.body().retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hearth\""));
    }
    response
}

/// Takes secrets out of an error that arose before any call, which may repeat what it refuses.
pub async fn clean(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if !is_problem {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A problem is ours and short.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if !app.secrets.is_in(&bytes) {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let mut document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    app.secrets.clean_value(&mut document);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(document.to_string()))
}

/// The members of [`crate::error::Body`], and before them those of the RFC.
pub fn document(status: StatusCode, error: &Error) -> Value {
    let body = error.body();
    let mut document = json!({
        "type": format!("urn:hearth:error:{}", error.code.word()),
        "title": title(error.code),
        "status": status.as_u16(),
        "detail": body.message.clone(),
    });
    if let (Value::Object(document), Ok(Value::Object(members))) = (&mut document, serde_json::to_value(&body)) {
        document.extend(members);
    }
    document
}

/// What all errors of a code have in common.
pub fn title(code: Code) -> &'static str {
    match code {
        Code::InvalidInput => "The request does not hold",
        Code::Unauthenticated => "Who calls is not known",
        Code::Forbidden => "The caller may not do this",
        Code::NotFound => "There is no such thing",
        Code::Conflict => "The request conflicts with what is stored",
        Code::Unconfirmed => "A person has to approve the call first",
        Code::TooLarge => "The request is too large",
        Code::RateLimited => "Too many calls",
        Code::Timeout => "The call took too long",
        Code::Unreachable => "A device does not answer",
        Code::Refused => "A device refused",
        Code::Unconfigured => "Something is not configured",
        Code::Sealed => "The vault is sealed",
        Code::Unavailable => "hearth cannot answer at the moment",
        Code::Integrity => "Stored data does not hold",
        Code::Internal => "Internal error",
    }
}
