//! Where credentials come from, as far as that needs no AWS.

use mecha_plugin_api::ErrorKind;

use super::*;
use crate::client::configure;
use crate::metadata::{AwsSettings, EMULATOR_REGION};

async fn configured(pairs: &[(&str, &str)]) -> mecha_plugin_api::Result<aws_config::SdkConfig> {
    configure(&AwsSettings::read(&spec("bindings.aws.sqs", pairs)).unwrap(), &shared()).await
}

#[tokio::test]
async fn an_emulator_needs_no_region() {
    let keys = [("accessKey", "a"), ("secretKey", "s"), ("endpoint", "http://127.0.0.1:1")];
    let config = configured(&keys).await.unwrap();
    assert_eq!(config.region().unwrap().as_ref(), EMULATOR_REGION);
    assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:1"));
}

#[tokio::test]
async fn the_region_of_the_metadata_stands_first() {
    let config =
        configured(&[("accessKey", "a"), ("secretKey", "s"), ("awsRegion", "eu-west-1")]).await.unwrap();
    assert_eq!(config.region().unwrap().as_ref(), "eu-west-1");
}

#[tokio::test]
async fn a_profile_that_is_not_there_is_no_reason_to_be_someone_else() {
    let error =
        configured(&[("profile", "mecha-test-no-such-profile"), ("region", "us-east-1")]).await.unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::INVALID, Some("profile")), "{error}");
}

/// Names the server below to the process that calls it: only a process of its own can have other environment variables.
const CHILD_VARIABLE: &str = "MECHA_TEST_AWS_CHILD";
const PROFILES: &str = "[team]\naws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n";

/// Answers as STS and SQS would, and notes with which key each action was signed.
fn serve(listener: &std::net::TcpListener) -> String {
    use std::io::{Read as _, Write as _};
    let (mut stream, _) = listener.accept().unwrap();
    let (mut request, mut piece) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).unwrap();
        request.push_str(std::str::from_utf8(&piece[..read]).unwrap());
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            break;
        }
    }
    let is_sts = request.contains("Action=AssumeRole");
    let body = if is_sts {
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/MySession</Arn><AssumedRoleId>id</AssumedRoleId></AssumedRoleUser><Credentials>\
         <AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>r</SecretAccessKey><SessionToken>token</SessionToken>\
         <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    } else {
        r#"{"QueueUrl":"http://q"}"#
    };
    let kind = if is_sts { "text/xml" } else { "application/x-amz-json-1.0" };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let key = request.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let session = request.contains("RoleSessionName=MySession");
    format!(
        "{} {key}{}",
        if is_sts { "AssumeRole" } else { "GetQueueUrl" },
        if session { " MySession" } else { "" }
    )
}

/// The actions of a component with `fields` whose process has only `variables`.
fn seen(fields: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (notes, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || while notes.send(serve(&listener)).is_ok() {});
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::credentials::in_a_process_of_its_own", "--nocapture"])
        .env_clear()
        .envs(variables.iter().copied())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env(CHILD_VARIABLE, format!("{fields},endpoint={address},queueName=q,region=us-east-1"))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    // The server notes an action once it is answered, so the last note may come after the process has ended.
    std::iter::from_fn(|| seen.recv_timeout(Duration::from_millis(500)).ok()).collect()
}

#[tokio::test]
async fn in_a_process_of_its_own() {
    let Ok(fields) = std::env::var(CHILD_VARIABLE) else { return };
    let pairs: Vec<_> = fields.split(',').filter_map(|pair| pair.split_once('=')).collect();
    crate::sqs::SqsBinding::open(spec("bindings.aws.sqs", &pairs), shared()).await.unwrap();
}

#[test]
fn a_role_is_assumed_with_what_the_environment_offers() {
    let variables = [("AWS_ACCESS_KEY_ID", "ENVKEY"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let fields = "assumeRoleArn=arn:aws:iam::123456789012:role/r,sessionName=MySession";
    assert_eq!(seen(fields, &variables), ["AssumeRole ENVKEY MySession", "GetQueueUrl ROLEKEY"]);
}

#[test]
fn a_profile_stands_before_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    std::fs::write(&file, PROFILES).unwrap();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "ENVKEY"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    assert_eq!(seen("profile=team", &variables), ["GetQueueUrl PROFILEKEY"]);
    assert_eq!(seen("accessKey=KEY,secretKey=s", &variables), ["GetQueueUrl KEY"]);
    assert_eq!(seen("other=1", &variables), ["GetQueueUrl ENVKEY"]);
}
