//! Refusals before a message is read: an error as an HTTP answer.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::error::Error;

pub fn refuse(error: &Error) -> Response {
    if error.code.is_protocol_error() {
        tracing::error!(cause = error.chain(), "an MCP request failed: {error}");
    }
    refuse_as(StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error)
}

/// For what HTTP tells apart more finely than the codes do.
pub fn refuse_as(status: StatusCode, error: &Error) -> Response {
    let body = error.body();
    let wait = body.retry_after_s;
    let mut response = (status, Json(body)).into_response();
    if let Some(wait) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.max(1)));
    }
    response
}
