//! The body of a request, read whole before any route sees it: within a size and a time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem;
use crate::error::{Code, Error};

/// A client that trickles its body holds a connection, and no more than this long.
const WAIT: Duration = Duration::from_secs(30);

pub async fn buffer(State(most): State<usize>, request: Request, next: Next) -> Response {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| (most as u64) < length) {
        return problem::respond(&too_large(most));
    }
    let (parts, body) = request.into_parts();
    let bytes = match tokio::time::timeout(WAIT, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return problem::respond(&too_large(most)),
        Ok(Err(_)) => return problem::respond(&Error::new(Code::InvalidInput, "the body of the request broke off")),
        Err(_) => {
            let error = Error::new(Code::Timeout, format_args!("the body did not arrive within {} s", WAIT.as_secs()));
            return problem::respond_as(StatusCode::REQUEST_TIMEOUT, &error);
        }
    };
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

fn too_large(most: usize) -> Error {
    Error::new(Code::TooLarge, format_args!("the body has more than {most} bytes"))
        .with_hint("send less, or raise `limits.body_bytes` in hearth.toml")
}
