//! AWS Signature Version 4: how a request proves that it comes from the owner of a secret key.
//!
//! A pure function of the request, the credentials, the scope and the time. It belongs to no dialect: Bedrock's Converse, its
//! `invoke` operations and its Anthropic and OpenAI endpoints are all signed so. The steps and their names are those of AWS's "Create a signed
//! API request"; like every service but S3, the canonical path is the path as sent, without dot segments and empty segments, encoded once more.

use core::fmt;

use fairlead_ir::percent;
use ring::{digest, hmac};

/// What a key pair of AWS consists of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Names the key pair; no secret.
    pub access_key_id: &'a str,
    /// The secret.
    pub secret_access_key: &'a str,
    /// Belongs to temporary credentials.
    pub session_token: Option<&'a str>,
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secrets stay out of logs.
        formatter.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Where a signature counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// The service's signing name, such as `bedrock`.
    pub service: &'a str,
}

/// A request as it will be sent, but for the headers that [`sign`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// The path as it stands in the request line, percent-encoded once.
    pub path: &'a str,
    /// The query as it stands there, without the question mark; empty when there is none.
    pub query: &'a str,
    /// The headers to be signed, in any case and order: `host` must be among them, `content-type` should. Nothing that a hop may change.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body: see [`body_sha256`].
    pub body_sha256: [u8; 32],
}

/// SHA-256 of a body that lies in these pieces.
pub fn body_sha256<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    pieces.into_iter().for_each(|piece| context.update(piece));
    array(context.finish().as_ref())
}

/// The headers to add to the request: `x-amz-date`, `x-amz-security-token` for temporary credentials, `authorization`. `unix_s` is now, in
/// seconds since 1970; AWS refuses signatures that are five minutes off.
pub fn sign(request: &Unsigned<'_>, credentials: &Credentials<'_>, scope: &Scope<'_>, unix_s: u64) -> Vec<(&'static str, String)> {
    let date = timestamp(unix_s);
    let day = &date[..8];
    let mut added = vec![("x-amz-date", date.clone())];
    added.extend(credentials.session_token.map(|token| ("x-amz-security-token", token.to_owned())));
    let headers = canonical_headers(request.headers.iter().copied().chain(added.iter().map(|(name, value)| (*name, value.as_str()))));
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let canonical = canonical_request(request, &headers, &names);
    let scope_text = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope_text}\n{}", hex(&body_sha256([canonical.as_bytes()])));
    let signature = hex(&keyed(&signing_key(credentials, day, scope), &to_sign));
    let id = credentials.access_key_id;
    let authorization = format!("AWS4-HMAC-SHA256 Credential={id}/{scope_text}, SignedHeaders={names}, Signature={signature}");
    added.push(("authorization", authorization));
    added
}

fn canonical_request(request: &Unsigned<'_>, headers: &[(String, String)], names: &str) -> String {
    let mut canonical = format!("{}\n", request.method);
    percent::encode(&normalised(request.path), b"/", &mut canonical);
    canonical.push('\n');
    canonical.push_str(&canonical_query(request.query));
    canonical.push('\n');
    for (name, value) in headers {
        canonical.push_str(&format!("{name}:{value}\n"));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(&request.body_sha256)));
    canonical
}

/// Names in small letters and sorted, white space folded, values of the same name joined in their order.
fn canonical_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let fold = |value: &str| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut folded: Vec<(String, String)> = headers.map(|(name, value)| (name.trim().to_ascii_lowercase(), fold(value))).collect();
    folded.sort_by(|one, other| one.0.cmp(&other.0));
    folded.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1.push(',');
            kept.1.push_str(&later.1);
        }
        same
    });
    folded
}

/// The path without `.`, `..` and empty segments.
fn normalised(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let tail = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{tail}", kept.join("/"))
}

/// Sorted by name, then value. What stands in a query that can be sent is encoded already.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn signing_key(credentials: &Credentials<'_>, day: &str, scope: &Scope<'_>) -> [u8; 32] {
    let first = format!("AWS4{}", credentials.secret_access_key);
    [scope.region, scope.service, "aws4_request"].iter().fold(keyed(first.as_bytes(), day), |key, text| keyed(&key, text))
}

fn keyed(key: &[u8], text: &str) -> [u8; 32] {
    array(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref())
}

fn array(bytes: &[u8]) -> [u8; 32] {
    // SHA-256 has 32 bytes.
    let mut array = [0; 32];
    array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    array
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `20150830T123600Z`.
fn timestamp(unix_s: u64) -> String {
    let (day, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(day);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a day since 1970. Counted in years that begin in March, so that the leap day is the last one
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(day: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    // From March 1st of the year 0 to 1970.
    let day = day + 719_468;
    let (era, day) = (day / DAYS_OF_ERA, day % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March: 153 days in five.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// `tests/vectors/sigv4`: AWS's published signing test suite, and Converse calls signed by botocore.
    fn cases(file: &str) -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/sigv4").join(file);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn check(case: &Value) {
        let text = |key: &str| case[key].as_str().unwrap();
        let headers: Vec<(&str, &str)> =
            case["headers"].as_array().unwrap().iter().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect();
        let request = Unsigned {
            method: text("method"),
            path: text("path"),
            query: text("query"),
            headers: &headers,
            body_sha256: body_sha256([text("body").as_bytes()]),
        };
        let credentials = Credentials {
            access_key_id: text("access_key_id"),
            secret_access_key: text("secret_access_key"),
            session_token: case["session_token"].as_str(),
        };
        let scope = Scope { region: text("region"), service: text("service") };
        let signed = sign(&request, &credentials, &scope, case["unix_s"].as_u64().unwrap());
        let name = text("name");
        let header = |wanted: &str| signed.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
        assert_eq!(header("authorization"), Some(text("authorization")), "{name}");
        assert_eq!(header("x-amz-date"), Some(text("date")), "{name}");
        assert_eq!(header("x-amz-security-token"), case["session_token"].as_str(), "{name}");
    }

    #[test]
    fn signatures_are_those_of_aws() {
        cases("aws.json").iter().for_each(check);
        cases("botocore.json").iter().for_each(check);
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        for (unix_s, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_868_800, "20000301T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (4_107_542_400, "21000301T000000Z"),
            (253_402_300_799, "99991231T235959Z"),
        ] {
            assert_eq!(timestamp(unix_s), expected);
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials { access_key_id: "AKIDEXAMPLE", secret_access_key: "hidden", session_token: Some("hidden") };
        let printed = format!("{credentials:?}");
        assert!(printed.contains("AKIDEXAMPLE") && !printed.contains("hidden"), "{printed}");
    }
}
