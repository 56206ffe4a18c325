//! What an error looks like: RFC 9457 problems. What the caller is told and
//! what caused it are kept apart; the cause of the hub's own faults is logged.

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tomte_api::problem::{MEDIA_TYPE, Problem};
use tomte_store::StoreError;

use crate::HubError;
use crate::access::Forbidden;

/// Why a request was not followed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the caller is told.
    problem: Box<Problem>,
    /// What is logged instead.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure whose words are all there is to it.
    pub(crate) fn new(status: StatusCode, code: &str, title: &str) -> Self {
        Self { problem: Box::new(Problem::new(status.as_u16(), code, title)), cause: None }
    }

    /// Adds what went wrong this time.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = Some(detail.into());
        self
    }

    /// Adds where in the body it went wrong.
    pub(crate) fn at(mut self, line: usize, column: usize) -> Self {
        (self.problem.line, self.problem.column) = (Some(line), Some(column));
        self
    }

    /// Adds how long to wait; never told as zero.
    pub(crate) fn retry_after(mut self, wait: std::time::Duration) -> Self {
        self.problem.retry_after_seconds = Some(wait.as_secs_f64().ceil().max(1.0) as u64);
        self
    }

    /// A query parameter that is unknown or makes no sense.
    pub(crate) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter makes no sense")
            .detail(format!("{name}: {why}"))
    }

    /// A part of the body that is well-formed and yet makes no sense.
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request makes no sense").detail(why)
    }

    /// There is no such host.
    pub(crate) fn no_such_host(name: &str) -> Self {
        Self::not_found("host", name)
    }

    /// There is such a host, and was not then.
    pub(crate) fn not_known_then(at: tomte_model::Timestamp) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-known-then", "Nothing was known of it then")
            .detail(format!("what is kept of the host begins after {at}"))
    }

    /// There is no such thing.
    pub(crate) fn not_found(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, &format!("no-such-{what}"), &format!("There is no such {what}"))
            .detail(format!("none is called {name:?}"))
    }

    /// It contradicts what is there.
    pub(crate) fn conflict(why: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "It contradicts what is there").detail(why)
    }

    /// No credentials, or wrong ones.
    pub(crate) fn unauthorised(why: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorised", "Who is asking?").detail(why)
    }

    /// Known, and not allowed.
    pub(crate) fn forbidden(why: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed").detail(why)
    }

    /// Too many wrong guesses.
    pub(crate) fn back_off(wait: std::time::Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "back-off", "Too many failures").retry_after(wait)
    }

    /// The hub is at fault.
    pub(crate) fn fault(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "The hub is at fault").detail("its log says more")
        }
    }

    /// What the caller is told.
    pub(crate) fn into_problem(self) -> Problem {
        self.log();
        *self.problem
    }

    fn log(&self) {
        if let Some(cause) = &self.cause {
            tracing::error!(error = %chain(cause.as_ref()), status = self.problem.status, "a request failed");
        }
    }
}

/// An error and its sources on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = self.into_problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).expect("a problem is plain text and numbers");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"tomte\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(seconds) = problem.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        match error {
            HubError::NotFound { what, name } => Self::not_found(what, &name),
            HubError::Conflict(why) => Self::conflict(why),
            HubError::Invalid(why) => Self::invalid(why),
            HubError::Refused(why) => Self::new(StatusCode::FORBIDDEN, "refused", "Refused").detail(why),
            HubError::NotConnected(_) => {
                Self::new(StatusCode::CONFLICT, "not-connected", "The host's agent is not connected")
                    .detail(error.to_string())
            }
            HubError::Store(error) => error.into(),
            HubError::Stopping => Self::unavailable("stopping", error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NameTaken(_) => Self::conflict(error.to_string()),
            StoreError::NotFound(what) => Self::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(*what),
            StoreError::TooManyPoints { .. } | StoreError::TooManyBytes { .. } | StoreError::TooSlow { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-points", "The answer would be too large")
                    .detail(error.to_string())
            }
            StoreError::BadQuery(why) => Self::invalid(*why),
            StoreError::BadCode => Self::new(StatusCode::FORBIDDEN, "refused", "Refused").detail(error.to_string()),
            StoreError::Full { .. } => {
                let told = error.to_string();
                Self {
                    cause: Some(error.into()),
                    ..Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "The hub's disk is full").detail(told)
                }
            }
            StoreError::Busy | StoreError::Closed => Self::unavailable("busy", error.to_string()),
            _ => Self::fault(error),
        }
    }
}

impl From<Forbidden> for Failure {
    fn from(error: Forbidden) -> Self {
        Self::forbidden(error.to_string())
    }
}

impl Failure {
    /// Not now.
    pub(crate) fn unavailable(code: &str, why: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "Not now")
            .detail(why)
            .retry_after(std::time::Duration::from_secs(1))
    }

    /// There is no such path.
    pub(crate) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "There is no such path")
            .detail("see /api/v1/openapi.json for those there are")
    }
}

/// Answers a method that a path does not have.
pub(crate) async fn method_not_allowed() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not have this method")
}
