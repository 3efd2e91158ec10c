//! Checks AWS' Signature Version 4 of a request: the scope, the clock, the hash of the body, the path that is encoded twice. Written after
//! AWS' description of the canonical request, and checked against the examples that AWS publishes with it.

use crate::intake::percent_decoded;
use crate::reply::Refusal;
use crate::request::Request;
use ring::{digest, hmac};
use std::collections::BTreeMap;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const MAX_SKEW_S: u64 = 300;

/// What an `Authorization` header says.
struct Signature<'r> {
    access_key: &'r str,
    date: &'r str,
    region: &'r str,
    service: &'r str,
    signed_headers: Vec<&'r str>,
    signature: &'r str,
}

/// The access key of a request to `service` that was signed with `secret`, at `now_unix_s`.
pub(crate) fn verify<'r>(request: &'r Request, service: &str, secret: &str, now_unix_s: u64) -> Result<&'r str, Refusal> {
    let authorization =
        request.header("authorization").ok_or_else(|| refused("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
    let signature = Signature::parse(authorization)?;
    if signature.service != service {
        return Err(refused("InvalidSignatureException", format!("Credential should be scoped to correct service: '{service}'.")));
    }
    let time = request
        .header("x-amz-date")
        .ok_or_else(|| incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."))?;
    check_time(time, signature.date, now_unix_s)?;
    check_signed_headers(request, &signature.signed_headers)?;
    let body_hash = hexadecimal(digest::digest(&digest::SHA256, &request.body).as_ref());
    if request.header("x-amz-content-sha256").is_some_and(|given| given != body_hash) {
        return Err(refused("InvalidSignatureException", "The provided 'x-amz-content-sha256' header does not match what was computed."));
    }
    let canonical = canonical_request(request, &signature.signed_headers, &body_hash);
    if expected(&canonical, time, &signature, secret) != signature.signature {
        return Err(refused(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    Ok(signature.access_key)
}

fn refused(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal::new(403, message).code(code)
}

fn incomplete(message: &str) -> Refusal {
    refused("IncompleteSignatureException", message)
}

impl<'r> Signature<'r> {
    fn parse(authorization: &'r str) -> Result<Self, Refusal> {
        let parts = authorization.strip_prefix(ALGORITHM).ok_or_else(|| incomplete("Unsupported AWS 'algorithm'."))?;
        let parts: BTreeMap<&str, &str> = parts.split(',').filter_map(|part| part.trim().split_once('=')).collect();
        let part =
            |name: &str| parts.get(name).copied().ok_or_else(|| incomplete(&format!("Authorization header requires '{name}' parameter.")));
        let (credential, signed, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
        let scope: Vec<&str> = credential.split('/').collect();
        let &[access_key, date, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."));
        };
        if access_key.is_empty() {
            return Err(refused("UnrecognizedClientException", "The security token included in the request is invalid."));
        }
        Ok(Self { access_key, date, region, service, signed_headers: signed.split(';').collect(), signature })
    }
}

fn check_time(time: &str, scope_date: &str, now_unix_s: u64) -> Result<(), Refusal> {
    let signed_unix_s = unix_s(time).ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
    if !time.starts_with(scope_date) {
        let message = format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{scope_date}' != '{time}'."
        );
        return Err(refused("InvalidSignatureException", message));
    }
    if signed_unix_s + MAX_SKEW_S < now_unix_s {
        return Err(refused(
            "InvalidSignatureException",
            format!("Signature expired: {time} is now earlier than the time of the server - 5 min."),
        ));
    }
    if signed_unix_s > now_unix_s + MAX_SKEW_S {
        return Err(refused(
            "InvalidSignatureException",
            format!("Signature not yet current: {time} is still later than the time of the server + 5 min."),
        ));
    }
    Ok(())
}

/// Seconds since 1970 of `20260131T120000Z`.
fn unix_s(time: &str) -> Option<u64> {
    let shape = time.len() == 16 && time.is_ascii() && time.get(8..9) == Some("T") && time.ends_with('Z');
    let number = |from: usize, to: usize| time.get(from..to).filter(|_| shape)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    // Days of a civil date, years counted from March so that leap days come last (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    Some(days.checked_sub(719_468)? * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The host and everything of Amazon's own must be signed, and the list be sorted.
fn check_signed_headers(request: &Request, signed: &[&str]) -> Result<(), Refusal> {
    if !signed.contains(&"host") {
        return Err(refused("InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    for (name, _) in request.headers() {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-amz-") && !signed.contains(&name.as_str()) {
            return Err(refused("InvalidSignatureException", format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    if !signed.is_sorted() {
        return Err(refused("InvalidSignatureException", "'SignedHeaders' must be sorted."));
    }
    Ok(())
}

fn canonical_request(request: &Request, signed: &[&str], body_hash: &str) -> String {
    let path: Vec<String> = request.head.path.split('/').map(encoded).collect();
    let mut query: Vec<String> =
        request.head.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(canonical_pair).collect();
    query.sort_unstable();
    let headers: String = signed.iter().map(|name| format!("{name}:{}\n", header_values(request, name))).collect();
    let (path, query, signed) = (path.join("/"), query.join("&"), signed.join(";"));
    format!("{}\n{path}\n{query}\n{headers}\n{signed}\n{body_hash}", request.head.method)
}

fn canonical_pair(pair: &str) -> String {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    format!("{}={}", encoded(&percent_decoded(name)), encoded(&percent_decoded(value)))
}

/// All values of a header, white space in them made single.
fn header_values(request: &Request, name: &str) -> String {
    let values = request.headers().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let values: Vec<String> = values.map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    values.join(",")
}

/// Percent-encoded, except for what need not be. What came encoded is so twice now, as AWS wants it outside of S3.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn expected(canonical: &str, time: &str, signature: &Signature<'_>, secret: &str) -> String {
    let Signature { date, region, service, .. } = signature;
    let hash = hexadecimal(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/aws4_request\n{hash}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for step in [*date, *region, *service, "aws4_request"] {
        key = sign(&key, step);
    }
    hexadecimal(&sign(&key, &text))
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::request::Head;
    use bytes::Bytes;

    // Key, date and signature of the example `get-vanilla` in AWS' test suite.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TIME: &str = "20150830T123600Z";
    const NOW: u64 = 1_440_938_160;
    const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

    fn request(signed: &str, signature: &str, more: &str) -> Request {
        let raw = format!(
            "GET / HTTP/1.1\r\nHost:example.amazonaws.com\r\nX-Amz-Date:{TIME}\r\n{more}Authorization: AWS4-HMAC-SHA256 \
            Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, Signature={signature}\r\n\r\n"
        );
        let mut head = Head::default();
        (head.method, head.path) = ("GET".to_owned(), "/".to_owned());
        Request { head, raw_head: Bytes::from(raw), body: Bytes::new() }
    }

    #[test]
    fn the_published_example_is_good() {
        assert_eq!(verify(&request("host;x-amz-date", VANILLA, ""), "service", SECRET, NOW), Ok("AKIDEXAMPLE"));
    }

    #[test]
    fn everything_else_is_refused() {
        let check = |request: Request, service: &str, secret: &str, now: u64, needle: &str| {
            let refusal = verify(&request, service, secret, now).unwrap_err();
            assert!(refusal.status == 403 && refusal.message.contains(needle), "{refusal:?}");
        };
        let good = || request("host;x-amz-date", VANILLA, "");
        check(good(), "bedrock", SECRET, NOW, "scoped to correct service");
        check(good(), "service", "other", NOW, "does not match the signature you provided");
        check(good(), "service", SECRET, NOW + 301, "expired");
        check(good(), "service", SECRET, NOW - 301, "not yet current");
        check(Request { body: Bytes::from_static(b"x"), ..good() }, "service", SECRET, NOW, "does not match");
        check(request("x-amz-date", VANILLA, ""), "service", SECRET, NOW, "'Host'");
        check(request("host", VANILLA, ""), "service", SECRET, NOW, "'x-amz-date' must be");
        check(request("x-amz-date;host", VANILLA, ""), "service", SECRET, NOW, "sorted");
        check(request("host;x-amz-date", VANILLA, "x-amz-content-sha256: 00\r\n"), "service", SECRET, NOW, "must be a 'SignedHeader'");
        let hashed = request("host;x-amz-content-sha256;x-amz-date", VANILLA, "x-amz-content-sha256: 00\r\n");
        check(hashed, "service", SECRET, NOW, "does not match what was computed");
        let mut unsigned = good();
        unsigned.raw_head = Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        check(unsigned, "service", SECRET, NOW, "Missing Authentication Token");
    }

    #[test]
    fn paths_are_encoded_twice_and_queries_once() {
        let mut request = request("host", "", "");
        request.head.path = "/model/sim%2Ftools%3A0/converse".to_owned();
        request.head.query = Some("b=2&a=%41+x&c".to_owned());
        let canonical = canonical_request(&request, &["host"], "hash");
        let lines: Vec<&str> = canonical.lines().collect();
        assert_eq!(lines[1..4], ["/model/sim%252Ftools%253A0/converse", "a=A%2Bx&b=2&c=", "host:example.amazonaws.com"]);
    }

    #[test]
    fn dates_are_read() {
        for (time, seconds) in
            [(TIME, Some(NOW)), ("19700101T000000Z", Some(0)), ("20240229T235959Z", Some(1_709_251_199)), ("2015-08-30", None)]
        {
            assert_eq!(unix_s(time), seconds, "{time}");
        }
    }
}
