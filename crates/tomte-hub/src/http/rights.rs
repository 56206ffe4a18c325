//! Rights as arguments of handlers: who has got past the gate holds the role
//! that the list of routes asks for, and a handler takes it as a value.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::App;
use super::auth::Identity;
use super::problem::Failure;
use crate::access::{Admin, Operator, Viewer};

macro_rules! rights {
    ($($right:ident by $method:ident;)*) => {$(
        impl FromRequestParts<App> for $right {
            type Rejection = Failure;
            async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
                Ok(identity(parts)?.caller.$method()?)
            }
        }
    )*};
}

rights! {
    Viewer by viewer;
    Operator by operator;
    Admin by admin;
}

impl FromRequestParts<App> for Identity {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        identity(parts).cloned()
    }
}

fn identity(parts: &Parts) -> Result<&Identity, Failure> {
    parts.extensions.get().ok_or_else(|| Failure::unauthorised("no credentials were given"))
}
