//! What a URL means: which store, which folder in it, and how it is spoken to.

use std::ffi::OsString;
use std::sync::Arc;

use bus::disk::{Cause, DiskError, Op};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use crate::place::{Patience, Place, said};

/// The store and the folder that `location` names, with the credentials and the address that
/// the environment `env` names: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
/// `AWS_ENDPOINT_URL` and so on, as the tools of AWS read them.
///
/// Only from there: a URL with a password in it would stand in the configuration, in the log's
/// directory and in every message.
pub fn place_at(
    location: &str,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    patience: Patience,
) -> Result<Place, DiskError> {
    let bad = |why: String| DiskError {
        op: Op::Open,
        path: location.into(),
        cause: Cause::Store(why),
    };
    let wanted = || bad("want s3://bucket/folder".into());
    let url = Url::parse(location).map_err(|_| wanted())?;
    if url.scheme() == "file" {
        return Err(bad("a directory is named by its path alone".into()));
    }
    if url.scheme() != "s3" {
        return Err(wanted());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "credentials come from the environment, never from a URL".into(),
        ));
    }
    let bucket = url.host_str().unwrap_or_default();
    let is_more = url.query().is_some() || url.fragment().is_some() || url.port().is_some();
    if bucket.is_empty() || is_more {
        return Err(wanted());
    }
    let folder = Path::from_url_path(url.path()).map_err(|error| bad(error.to_string()))?;
    let store = s3(bucket, env, patience).map_err(|error| bad(said(&error)))?;
    Place::new(store, folder, location, patience)
}

fn s3(
    bucket: &str,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    patience: Patience,
) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    // Refused only where the program has chosen one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::new();
    for (name, value) in env {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        if name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse()
        {
            builder = builder.with_config(key, value);
        }
    }
    let within = |key, span: std::time::Duration| {
        let value = format!("{} ms", span.as_millis());
        (AmazonS3ConfigKey::Client(key), value)
    };
    // Last, so that nothing around makes it wait for ever.
    for (key, value) in [
        within(ClientConfigKey::ConnectTimeout, patience.connect),
        within(ClientConfigKey::Timeout, patience.request),
    ] {
        builder = builder.with_config(key, value);
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                max_backoff: patience.connect,
                ..BackoffConfig::default()
            },
            max_retries: patience.retries,
            retry_timeout: patience.request,
        })
        .build()?;
    Ok(Arc::new(store))
}
