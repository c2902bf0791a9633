//! The address of a replica: `file:///folder` or `s3://bucket/path?endpoint=…&region=…`.

use std::sync::Arc;

use url::Url;
use zeroize::Zeroizing;

use super::file::Folder;
use super::s3::{Access, S3, Settings};
use super::{Error, Kind, ObjectStore};

/// What AWS and others take for "anywhere".
pub const REGION: &str = "us-east-1";

/// Opens the store at `address`, with the access key of the environment
/// (`LITESTREAM_ACCESS_KEY_ID` and `LITESTREAM_SECRET_ACCESS_KEY`, or those that begin with `AWS_`).
pub fn open(address: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    match parse(address, |name| std::env::var(name).ok())? {
        Place::Folder(path) => Ok(Arc::new(Folder::new(path))),
        Place::Bucket(settings) => Ok(Arc::new(S3::new(&settings))),
    }
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Folder(String),
    Bucket(Settings),
}

/// Reads an address; `environment` holds the access key.
pub fn parse(address: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Place, Error> {
    let wrong = |why: &str| Error::new(Kind::Malformed(why.to_owned()), address);
    let url = Url::parse(address).map_err(|_| wrong("not an address; write file:///folder or s3://bucket/path"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated: what stands there may be a key.
        let why = "an access key does not belong into an address; put it into the environment";
        return Err(Error::new(Kind::Malformed(why.to_owned()), format!("{}://…", url.scheme())));
    }
    match url.scheme() {
        "file" => match url.to_file_path() {
            Ok(path) => Ok(Place::Folder(path.to_string_lossy().into_owned())),
            Err(()) => Err(wrong("a folder needs an absolute path: file:///folder")),
        },
        "s3" => bucket(&url, environment).map(Place::Bucket).map_err(|why| wrong(&why)),
        other => Err(wrong(&format!("`{other}://` is not a kind of store; write file:///folder or s3://bucket/path"))),
    }
}

fn bucket(url: &Url, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or("there is no bucket in it")?;
    let mut settings = Settings {
        bucket: bucket.to_owned(),
        path: url.path().trim_matches('/').to_owned(),
        endpoint: None,
        region: REGION.to_owned(),
        force_path_style: false,
        access: access(environment)?,
    };
    for (name, value) in url.query_pairs() {
        match &*name {
            "endpoint" => settings.endpoint = Some(endpoint(&value)?),
            "region" => settings.region = value.into_owned(),
            "forcePathStyle" | "force-path-style" => settings.force_path_style = value == "true",
            other => return Err(format!("unknown part `{other}`; known: endpoint, region, force-path-style")),
        }
    }
    settings.force_path_style |= settings.endpoint.is_some() || settings.bucket.contains('.');
    Ok(settings)
}

/// An endpoint with its scheme; none written means `https`.
pub fn endpoint(text: &str) -> Result<String, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&whole).map_err(|_| format!("`{text}` is no endpoint; write HOST or https://HOST"))?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if !is_web || url.path() != "/" || !url.username().is_empty() || url.query().is_some() {
        return Err(format!("`{text}` is no endpoint; write HOST or https://HOST"));
    }
    Ok(whole.trim_end_matches('/').to_owned())
}

fn access(environment: impl Fn(&str) -> Option<String>) -> Result<Access, String> {
    let find = |name: &str| {
        ["LITESTREAM", "AWS"]
            .iter()
            .filter_map(|prefix| environment(&format!("{prefix}_{name}")))
            .find(|value| !value.trim().is_empty())
            .ok_or_else(|| format!("there is no access key: set LITESTREAM_{name} in the environment"))
    };
    Ok(Access { id: find("ACCESS_KEY_ID")?, secret: Zeroizing::new(find("SECRET_ACCESS_KEY")?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str) -> Option<String> {
        name.starts_with("LITESTREAM_").then(|| "k".to_owned())
    }

    #[test]
    fn a_bucket_has_a_path_and_an_endpoint() {
        let address = "s3://bucket/a/b/?endpoint=http://127.0.0.1:9000&region=eu-1";
        let Place::Bucket(settings) = parse(address, keys).unwrap() else { panic!("a bucket") };
        assert_eq!((settings.bucket.as_str(), settings.path.as_str()), ("bucket", "a/b"));
        assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(settings.region, "eu-1");
        assert!(settings.force_path_style);
    }

    #[test]
    fn a_folder_is_absolute() {
        assert_eq!(parse("file:///var/replica", keys).unwrap(), Place::Folder("/var/replica".to_owned()));
        assert!(parse("file://elsewhere/var", keys).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_and_no_key_is_repeated() {
        for (address, part) in [
            ("gs://bucket/path", "not a kind of store"),
            ("folder", "not an address"),
            ("s3:///path", "no bucket"),
            ("s3://bucket/p?zone=1", "unknown part `zone`"),
            ("s3://bucket/p?endpoint=ftp://x", "no endpoint"),
        ] {
            let error = parse(address, keys).unwrap_err().to_string();
            assert!(error.contains(part), "{address}: {error}");
        }
        let error = parse("s3://ID:SECRET@bucket/p", keys).unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{error}");
        let error = parse("s3://bucket/p", |_| None).unwrap_err().to_string();
        assert!(error.contains("LITESTREAM_ACCESS_KEY_ID"), "{error}");
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_https() {
        assert_eq!(endpoint("s3.us-west-000.backblazeb2.com").unwrap(), "https://s3.us-west-000.backblazeb2.com");
    }
}
