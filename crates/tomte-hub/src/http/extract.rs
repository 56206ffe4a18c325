//! What handlers take from a request, with our own words when it is not there:
//! names from the path, parameters from the query, JSON from the body.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use tomte_api::page::{DEFAULT_LIMIT, MAX_LIMIT};
use tomte_model::HostId;

use super::App;
use super::problem::Failure;

/// The names in the path, decoded.
pub(crate) struct Names<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Names<T> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        Path::from_request_parts(parts, app).await.map(|Path(names)| Self(names)).map_err(|rejection| {
            Failure::new(StatusCode::BAD_REQUEST, "bad-path", "The path makes no sense").detail(rejection.body_text())
        })
    }
}

/// The host that the path names first: by name, alias or id.
pub(crate) struct OfHost {
    pub(crate) id: HostId,
}

impl FromRequestParts<App> for OfHost {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let Names(names) = Names::<Vec<(String, String)>>::from_request_parts(parts, app).await?;
        let name = names.into_iter().find(|(key, _)| key == "host").map(|(_, name)| name).unwrap_or_default();
        app.hub.find_host(&name).map(|id| Self { id }).ok_or_else(|| Failure::no_such_host(&name))
    }
}

/// The parameters of the query.
pub(crate) struct Params(Vec<(String, String)>);

impl FromRequestParts<App> for Params {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Refuses parameters that mean nothing here: a typing error must not
    /// silently widen a question.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Failure> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Failure::parameter(name, format!("unknown here; known are: {known}")))
            }
            None => Ok(()),
        }
    }

    /// Every value of a parameter; empty ones do not count.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// The value of a parameter that makes sense once only.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, Failure> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() { Err(Failure::parameter(name, "given more than once")) } else { Ok(value) }
    }

    /// A parameter read as a value of some type.
    pub(crate) fn read<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.one(name)?.map(|text| text.parse().map_err(|error| Failure::parameter(name, error))).transpose()
    }

    /// How many items to list.
    pub(crate) fn limit(&self) -> Result<usize, Failure> {
        match self.read::<usize>("limit")? {
            None => Ok(DEFAULT_LIMIT),
            Some(0) => Err(Failure::parameter("limit", "must be at least 1")),
            Some(limit) => Ok(limit.min(MAX_LIMIT)),
        }
    }
}

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Failure::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body is not JSON",
            )
            .detail("send it with Content-Type: application/json"));
        }
        let limit = app.hub.resolved().config.limits.body_bytes;
        let body = axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
            if std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
                Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
                    .detail(format!("at most {limit} bytes are taken"))
            } else {
                Failure::new(StatusCode::BAD_REQUEST, "bad-body", "The body could not be read")
            }
        })?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let failure = if error.is_data() {
                Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request makes no sense")
            } else {
                Failure::new(StatusCode::BAD_REQUEST, "bad-json", "The body is not JSON")
            };
            failure.detail(without_place(&error)).at(error.line(), error.column())
        })
    }
}

/// What serde says, without the place that it puts at the end: the problem has
/// fields for that.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_repeat_where_that_makes_sense_and_typing_errors_are_refused() {
        let params = Params::parse("kind=disk&kind=cpu&q=&limit=99999999&status=ok&status=ok");
        assert_eq!(params.all("kind").collect::<Vec<_>>(), ["disk", "cpu"]);
        assert_eq!(params.one("q").expect("one"), None);
        assert!(params.one("status").is_err());
        assert_eq!(params.limit().expect("a number"), MAX_LIMIT);
        assert!(params.only(&["kind", "q", "limit"]).is_err());
        assert!(params.only(&["kind", "q", "limit", "status"]).is_ok());
        assert!(Params::parse("limit=0").limit().is_err());
        assert!(Params::parse("limit=many").limit().is_err());
    }
}
