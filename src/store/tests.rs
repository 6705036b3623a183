//! Promises of how a store is opened.

use super::*;
use crate::error::ErrorKind;

fn refused(url: &str) -> String {
    let error = Store::open(url).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[test]
fn an_invalid_store_url_is_refused_without_its_secret() {
    assert!(refused("gs://bucket/path").contains("no store of that kind"));
    for url in
        ["s3://", "s3:///lake", "s3://key:secret@bucket/lake", "https://key:secret@bucket/lake"]
    {
        assert!(!refused(url).contains("secret"), "{url}");
    }
}

#[cfg(feature = "s3")]
#[test]
fn a_profile_is_found_in_either_file() {
    let text = "\u{feff}x = y\n[other]\naws_access_key_id = no\n\
                [default]\naws_access_key_id = one\n aws_secret_access_key=a=b \n\
                [profile work]\nregion = eu-west-1\nsso_url = x\n";
    let profile = |chosen| s3::profile(text, chosen).into_iter().collect::<Vec<_>>();
    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    assert_eq!(
        profile("default"),
        [pair("AWS_ACCESS_KEY_ID", "one"), pair("AWS_SECRET_ACCESS_KEY", "a=b")]
    );
    assert_eq!(profile("work"), [pair("AWS_REGION", "eu-west-1")]);
    assert_eq!(profile("absent"), []);
}

#[cfg(feature = "s3")]
#[test]
fn plain_http_reaches_only_this_machine_unless_allowed() {
    let open = |endpoint: &str, allow: Option<&str>| {
        let settings = [("AWS_ENDPOINT_URL", Some(endpoint)), ("AWS_ALLOW_HTTP", allow)];
        let settings = settings
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_string(), value?.to_string())));
        s3::builder("bucket", &settings.collect()).map(|_| ()).map_err(|error| error.kind())
    };
    for near in
        ["http://127.0.0.1:9000", "http://localhost/", "http://[::1]:9000", "https://far.example"]
    {
        assert_eq!(open(near, None), Ok(()), "{near}");
    }
    for far in
        ["http://far.example:9000", "http://localhost.example", "http://127.0.0.1:x@far.example"]
    {
        assert_eq!(open(far, None), Err(ErrorKind::Config), "{far}");
        assert_eq!(open(far, Some("true")), Ok(()), "{far}");
    }
}

/// Starts a server whose first response breaks off in the middle of its body, and whose second is
/// whole.
#[cfg(feature = "s3")]
fn breaks_off_once(
    status: &'static str,
    body: &'static str,
) -> (String, std::thread::JoinHandle<()>) {
    use std::io::{BufRead, BufReader, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = move || {
        for sent in [body.len() / 2, body.len()] {
            let (mut stream, _) = listener.accept().unwrap();
            let head = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty());
            assert!(head.count() > 0);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
                &body[..sent]
            )
            .unwrap();
        }
    };
    (endpoint, std::thread::spawn(answer))
}

#[cfg(feature = "s3")]
#[test]
fn a_truncated_response_is_requested_again() {
    use futures::TryStreamExt;
    use object_store::{ObjectStore, ObjectStoreExt};

    let open = |endpoint: &str| {
        let settings =
            [("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "key")];
        let settings =
            settings.into_iter().map(|(name, value)| (format!("AWS_{name}"), value.to_string()));
        s3::builder("bucket", &settings.collect()).unwrap().build().unwrap()
    };
    let runtime = crate::sync::io_runtime().unwrap();
    let (endpoint, server) =
        breaks_off_once("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>");
    let got = runtime.block_on(async { open(&endpoint).get(&"absent".into()).await.map(|_| ()) });
    assert!(matches!(got, Err(object_store::Error::NotFound { .. })), "{got:?}");
    server.join().unwrap();

    let listing = "<ListBucketResult><Contents><Key>there</Key>\
                   <LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                   <Size>3</Size></Contents></ListBucketResult>";
    let (endpoint, server) = breaks_off_once("200 OK", listing);
    let listed: Vec<_> =
        runtime.block_on(async { open(&endpoint).list(None).try_collect().await }).unwrap();
    assert_eq!(
        listed.iter().map(|object| (object.location.as_ref(), object.size)).collect::<Vec<_>>(),
        [("there", 3)]
    );
    server.join().unwrap();
}
