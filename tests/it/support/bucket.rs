//! A bucket in memory, on loopback, as strict as Backblaze B2 and with faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use hearth::replica::object::s3::{Access, S3, Settings};
use md5::{Digest, Md5};
use sha2::Sha256;
use tokio::net::TcpListener;

pub const SECRET: &str = "canary-secret-access-key";

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    words: Vec<(String, String)>,
}

#[derive(Default)]
struct Inside {
    objects: BTreeMap<String, Object>,
    parts: BTreeMap<(String, u32), Bytes>,
    begun: BTreeMap<String, Object>,
    /// Answers for the next requests, before any is looked at
    faults: VecDeque<(StatusCode, &'static str)>,
    requests: Vec<String>,
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Bucket {
    pub address: SocketAddr,
    inside: Arc<Mutex<Inside>>,
}

impl Bucket {
    pub async fn start() -> Bucket {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Mutex::new(Inside::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Bucket { address, inside }
    }

    pub fn store(&self, path: &str) -> S3 {
        S3::new(&Settings {
            bucket: "bucket".to_owned(),
            path: path.to_owned(),
            endpoint: Some(format!("http://{}", self.address)),
            region: "us-east-1".to_owned(),
            force_path_style: true,
            access: Access { id: "key-id".to_owned(), secret: SECRET.to_owned().into() },
        })
    }

    pub fn fail_next(&self, status: u16, code: &'static str) {
        self.inside.lock().unwrap().faults.push_back((StatusCode::from_u16(status).unwrap(), code));
    }

    /// The keys in the bucket, with the path of the replica.
    pub fn keys(&self) -> Vec<String> {
        self.inside.lock().unwrap().objects.keys().cloned().collect()
    }

    /// Method and key of each request since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.inside.lock().unwrap().requests)
    }
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let key = head.uri.path().strip_prefix("/bucket").unwrap_or_default().trim_start_matches('/').to_owned();
    let mut inside = inside.lock().unwrap();
    inside.requests.push(format!("{} {key}", head.method));
    if let Some((status, code)) = inside.faults.pop_front() {
        return refuse(status, code);
    }
    if let Some(refusal) = unwelcome(&head.method, &head.headers, &body) {
        return refusal;
    }
    let words = head.headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some((name.to_owned(), value.to_str().unwrap().to_owned()))
    });
    let object = Object { bytes: body.clone(), words: words.collect() };
    match head.method {
        Method::PUT if query.contains_key("uploadId") => {
            inside.parts.insert((key, query["partNumber"].parse().unwrap()), body);
            ([("etag", "\"part\"")], "").into_response()
        }
        Method::PUT => {
            inside.objects.insert(key, object);
            ([("etag", "\"whole\"")], "").into_response()
        }
        Method::POST if query.contains_key("uploads") => {
            inside.begun.insert(key, object);
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>".into_response()
        }
        Method::POST => {
            let mut whole = inside.begun.remove(&key).unwrap();
            let parts: Vec<Bytes> =
                inside.parts.iter().filter(|((of, _), _)| *of == key).map(|(_, bytes)| bytes.clone()).collect();
            whole.bytes = parts.concat().into();
            inside.objects.insert(key, whole);
            "<CompleteMultipartUploadResult><ETag>\"parts\"</ETag></CompleteMultipartUploadResult>".into_response()
        }
        Method::DELETE => {
            inside.objects.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        Method::GET if key.is_empty() => list(&inside, &query),
        _ => fetch(&inside, &key, &head.headers, head.method == Method::HEAD),
    }
}

/// What B2 does not take, or what would not be noticed if it broke on the way.
fn unwelcome(method: &Method, headers: &HeaderMap, body: &Bytes) -> Option<Response> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let is_unknown = |name: &str| {
        name.starts_with("x-amz-checksum") || name.starts_with("x-amz-sdk-checksum") || name.starts_with("if-")
    };
    if headers.keys().any(|name| is_unknown(name.as_str())) || text("content-encoding").is_some() {
        return Some(refuse(StatusCode::BAD_REQUEST, "InvalidArgument"));
    }
    let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    if text("x-amz-content-sha256") != Some(digest) {
        return Some(refuse(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"));
    }
    let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(body));
    if method == Method::PUT && text("content-md5") != Some(md5) {
        return Some(refuse(StatusCode::BAD_REQUEST, "BadDigest"));
    }
    None
}

/// In pages of three, so that every test of a listing turns one.
fn list(inside: &Inside, query: &BTreeMap<String, String>) -> Response {
    const PAGE: usize = 3;
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").map_or("", String::as_str);
    let found: Vec<_> =
        inside.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after).collect();
    let page: String = found
        .iter()
        .take(PAGE)
        .map(|(key, object)| {
            let size = object.bytes.len();
            let time = "2026-01-02T03:04:05.678Z";
            format!("<Contents><Key>{key}</Key><LastModified>{time}</LastModified><Size>{size}</Size></Contents>")
        })
        .collect();
    let more = match found.get(PAGE - 1) {
        Some((last, _)) if PAGE < found.len() => {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>")
        }
        _ => "<IsTruncated>false</IsTruncated>".to_owned(),
    };
    format!("<ListBucketResult>{more}{page}</ListBucketResult>").into_response()
}

fn fetch(inside: &Inside, key: &str, headers: &HeaderMap, is_head: bool) -> Response {
    let Some(object) = inside.objects.get(key) else { return refuse(StatusCode::NOT_FOUND, "NoSuchKey") };
    let mut bytes = object.bytes.clone();
    if let Some(range) = headers.get("range") {
        let (start, end) = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let end = (end.parse::<usize>().unwrap() + 1).min(bytes.len());
        bytes = bytes.slice(start.parse().unwrap()..end);
    }
    let mut answer = Response::builder()
        .header("content-length", bytes.len())
        .header("last-modified", "Fri, 02 Jan 2026 03:04:05 GMT");
    for (name, value) in &object.words {
        answer = answer.header(format!("x-amz-meta-{name}"), value);
    }
    answer.body(if is_head { Body::empty() } else { bytes.into() }).unwrap()
}

fn refuse(status: StatusCode, code: &str) -> Response {
    (status, format!("<Error><Code>{code}</Code><Message>no</Message></Error>")).into_response()
}
