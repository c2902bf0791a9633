//! Restores of what real Litestream wrote, by the hashes of what Litestream itself restores.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hearth::id::encode_hex;
use hearth::replica::ltx::{Decoder, Txid};
use hearth::replica::object::{ObjectStore, file::Folder};
use hearth::replica::plan::Target;
use hearth::replica::restore::{Error, Restored, restore};
use sha2::{Digest, Sha256};

use super::{fixtures, ltx_files};

/// A copy of a replica, with the times that a checkout does not keep.
fn copy(name: &str, to: &Path) -> Arc<dyn ObjectStore> {
    let from = fixtures().join(name);
    for path in ltx_files(&from) {
        let bytes = fs::read(&path).unwrap();
        let moment = Decoder::new(&bytes[..]).unwrap().header().timestamp_ms;
        let path = to.join(path.strip_prefix(&from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(moment as u64);
        File::options().write(true).open(&path).unwrap().set_modified(moment).unwrap();
    }
    Arc::new(Folder::new(to))
}

async fn run(store: &Arc<dyn ObjectStore>, target: Target, output: &Path) -> Result<Restored, Error> {
    restore(store, target, output, Arc::new(|_| {})).await
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_restores_to_the_bytes_that_litestream_restores() {
    let hashes = fs::read_to_string(fixtures().join("SHA256")).unwrap();
    assert_eq!(hashes.lines().count(), 10);
    for line in hashes.lines() {
        let (hash, name) = line.split_once("  ").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = copy(name, &folder.path().join("replica"));
        let output = folder.path().join("restored.db");
        run(&store, Target::Latest, &output).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(encode_hex(&Sha256::digest(fs::read(&output).unwrap())), hash, "{name}");
        assert_eq!(names(folder.path()), ["replica", "restored.db"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_and_its_time_restore_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = copy("levels/replica", &folder.path().join("replica"));
    for txid in [0x1, 0x8, 0xb, 0xf, 0x15, 0x16] {
        let (by_id, by_time) = (folder.path().join(format!("{txid}.id")), folder.path().join(format!("{txid}.time")));
        let first = run(&store, Target::Txid(Txid(txid)), &by_id).await.unwrap();
        assert_eq!(first.txid, Txid(txid));
        let second = run(&store, Target::Before(first.timestamp_ms + 1), &by_time).await.unwrap();
        assert_eq!(second.txid, Txid(txid));
        assert!(fs::read(&by_id).unwrap() == fs::read(&by_time).unwrap(), "{txid}");
    }
    let inside = run(&store, Target::Txid(Txid(0x5)), &folder.path().join("5")).await.unwrap_err().to_string();
    assert!(inside.contains("lies inside of"), "{inside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_overwritten_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = copy("rep512", &folder.path().join("replica"));
    let output = folder.path().join("x.db");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = folder.path().join(format!("x.db{suffix}"));
        fs::write(&path, "mine").unwrap();
        let error = run(&store, Target::Latest, &output).await.unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(names(folder.path()), ["replica"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_named_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let store = copy("rep512", &folder.path().join("replica"));
    let path = folder.path().join("replica/ltx/0/0000000000000003-0000000000000003.ltx");
    let whole = fs::read(&path).unwrap();
    fs::remove_file(folder.path().join("replica/ltx/1/0000000000000003-0000000000000003.ltx")).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let swapped = fs::read(folder.path().join("replica/ltx/0/0000000000000002-0000000000000002.ltx")).unwrap();
    for damaged in [&whole[..whole.len() / 2], &flipped[..], &swapped[..], b"", b"LTX1"] {
        fs::write(&path, damaged).unwrap();
        let error = run(&store, Target::Latest, &folder.path().join("x.db")).await.unwrap_err().to_string();
        assert!(error.contains("0000000000000003-0000000000000003.ltx"), "{error}");
        assert_eq!(names(folder.path()), ["replica"]);
    }
    fs::remove_file(&path).unwrap();
    let error = run(&store, Target::Latest, &folder.path().join("x.db")).await.unwrap_err().to_string();
    assert!(error.contains("0000000000000003 to 0000000000000003 are missing"), "{error}");
}
