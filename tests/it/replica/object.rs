//! A bucket as a store of objects.

use bytes::Bytes;
use hearth::replica::object::{Body, Kind, Meta, ObjectStore};

use crate::support::bucket::{Bucket, SECRET};

fn meta() -> Meta {
    Meta { timestamp_ms: 1_700_000_000_123, extra: [("sha256".to_owned(), "ab".to_owned())].into() }
}

type IsKind = fn(&Kind) -> bool;

#[tokio::test]
async fn a_bucket_keeps_objects_with_their_words_and_lists_all_pages() {
    let bucket = Bucket::start().await;
    let store = bucket.store("base/lineage");
    for number in 0..7 {
        let key = format!("0000/{number}");
        store.put(&key, Body::Bytes(Bytes::from(key.clone())), &meta()).await.unwrap();
    }
    store.put("0009/x", Body::Bytes(Bytes::new()), &meta()).await.unwrap();
    let keys: Vec<String> = store.list("0000/").await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, ["0000/0", "0000/1", "0000/2", "0000/3", "0000/4", "0000/5", "0000/6"]);
    assert_eq!(bucket.keys()[0], "base/lineage/0000/0");

    let (listed, about) = store.head("0000/3").await.unwrap();
    assert_eq!((listed.size, about), (6, meta()));
    assert_eq!(&store.get("0000/3", None).await.unwrap()[..], b"0000/3");
    assert_eq!(&store.get("0000/3", Some(5..99)).await.unwrap()[..], b"3");
    store.delete("0000/3").await.unwrap();
    assert!(store.get("0000/3", None).await.unwrap_err().is_not_found());
    assert!(store.head("0000/3").await.unwrap_err().is_not_found());
    assert_eq!(store.at("sub").describe(), "s3://bucket/base/lineage/sub");
}

#[tokio::test]
async fn a_large_file_goes_up_in_parts_and_comes_back_whole() {
    let bucket = Bucket::start().await;
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("large");
    let bytes: Vec<u8> = (0..11 << 20).map(|at: u32| (at ^ (at >> 9)) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let store = bucket.store("base");
    store.put("0009/large", Body::File(file), &meta()).await.unwrap();
    assert_eq!(store.get("0009/large", None).await.unwrap(), bytes);
    assert_eq!(store.head("0009/large").await.unwrap().1, meta());
    assert_eq!(bucket.take_requests().iter().filter(|request| request.starts_with("PUT")).count(), 3);
}

#[tokio::test]
async fn each_fault_of_a_store_is_told_apart_and_none_shows_the_key() {
    let bucket = Bucket::start().await;
    let store = bucket.store("base");
    let faults: [(u16, &str, IsKind, bool); 7] = [
        (503, "SlowDown", |kind| matches!(kind, Kind::Busy(_)), true),
        (429, "TooManyRequests", |kind| matches!(kind, Kind::Busy(_)), true),
        (500, "InternalError", |kind| matches!(kind, Kind::Busy(_)), true),
        (403, "RequestTimeTooSkewed", |kind| *kind == Kind::Skewed, false),
        (403, "SignatureDoesNotMatch", |kind| matches!(kind, Kind::Denied(_)), false),
        (404, "NoSuchBucket", |kind| matches!(kind, Kind::Refused(_)), false),
        (501, "NotImplemented", |kind| matches!(kind, Kind::Refused(_)), false),
    ];
    for (status, code, is_right, is_retryable) in faults {
        bucket.fail_next(status, code);
        let error = store.put("0000/1", Body::Bytes(Bytes::new()), &meta()).await.unwrap_err();
        assert!(is_right(&error.kind), "{status} {code}: {error:?}");
        assert_eq!(error.retryable(), is_retryable, "{status} {code}");
        assert!(!format!("{error:?} {error}").contains(SECRET), "{status} {code}");
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unreachable() {
    let mut bucket = Bucket::start().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    bucket.address = closed.local_addr().unwrap();
    drop(closed);
    let error = bucket.store("base").list("").await.unwrap_err();
    assert!(error.kind == Kind::Unreachable && error.retryable(), "{error:?}");
}
