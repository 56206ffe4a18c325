//! When a certificate ends: as much of X.509 (RFC 5280) as that takes.

use tomte_model::Timestamp;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The `notAfter` of a certificate in DER.
pub(super) fn ends(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(der)?;
    let (_, body, _) = element(certificate)?;
    // Version (optional), serial, algorithm and issuer come before.
    let mut rest = body;
    let (tag, _, behind) = element(rest)?;
    if tag == 0xa0 {
        rest = behind;
    }
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (tag, validity, _) = element(rest)?;
    let (_, _, behind) = element(validity).filter(|_| tag == SEQUENCE)?;
    let (tag, text, _) = element(behind)?;
    time(tag, str::from_utf8(text).ok()?)
}

/// Tag and content of the first element, and what stands behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), &rest[count..])
    };
    Some((tag, rest.get(..length)?, &rest[length..]))
}

/// `261120203733Z`, or with four digits of the year.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: u32 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2);
    format!("{year:04}-{}-{}T{}:{}:{}Z", two(0)?, two(2)?, two(4)?, two(6)?, two(8)?).parse().ok()
}

/// Reads a certificate: what a fuzzer is let loose on.
pub fn fuzz_certificate(der: &[u8]) {
    let _ = ends(der);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_end_is_found_and_nothing_else_passes_for_one() {
        let mut parameters = rcgen::CertificateParams::new(vec!["nas.example".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let der = certificate.der();
        assert_eq!(ends(der).unwrap().to_string(), "2031-02-03T00:00:00Z".parse::<Timestamp>().unwrap().to_string());
        for end in 0..60 {
            assert_eq!(ends(&der[..end]), None, "cut at {end}");
        }
        assert_eq!(
            time(GENERALIZED_TIME, "20510101000000Z").map(|time| time.to_string().starts_with("2051")),
            Some(true)
        );
        assert_eq!(
            (time(UTC_TIME, "99Z"), time(UTC_TIME, "991301000000Z"), time(4, "510101000000Z")),
            (None, None, None)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(der: Vec<u8>) {
            let _ = ends(&der);
        }
    }
}
