//! The one list of routes, each with the right it asks for. The router, the
//! OpenAPI document and the test that walks all routes are made from it.

use std::collections::HashMap;

use axum::Router;
use axum::http::Method;
use tomte_api::account::Role;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::{
    App, accounts, actions, audit, changes, enrolment, events, history, hosts, live, metrics, openapi, resources,
    session, setup, store, system,
};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without credentials.
    Open,
    /// Who has at least this role.
    Needs(Role),
}

/// All routes.
pub(crate) fn list() -> Vec<(Access, UtoipaMethodRouter<App>)> {
    const OPEN: Access = Access::Open;
    const VIEWER: Access = Access::Needs(Role::Viewer);
    const OPERATOR: Access = Access::Needs(Role::Operator);
    const ADMIN: Access = Access::Needs(Role::Admin);
    vec![
        (OPEN, routes!(system::healthz)),
        (OPEN, routes!(system::readyz)),
        (OPEN, routes!(openapi::document)),
        (OPEN, routes!(session::login)),
        (OPEN, routes!(setup::setup)),
        (OPEN, routes!(enrolment::enroll)),
        (VIEWER, routes!(session::logout)),
        (VIEWER, routes!(session::me)),
        (VIEWER, routes!(metrics::metrics)),
        (VIEWER, routes!(live::live)),
        (VIEWER, routes!(hosts::list)),
        (VIEWER, routes!(hosts::show)),
        (ADMIN, routes!(hosts::remove)),
        (ADMIN, routes!(hosts::rename)),
        (ADMIN, routes!(hosts::add_alias)),
        (ADMIN, routes!(hosts::remove_alias)),
        (ADMIN, routes!(hosts::set_roles)),
        (VIEWER, routes!(hosts::grants)),
        (ADMIN, routes!(hosts::add_grant)),
        (ADMIN, routes!(hosts::remove_grant)),
        (OPERATOR, routes!(hosts::refresh)),
        (VIEWER, routes!(hosts::settings)),
        (ADMIN, routes!(hosts::set_settings)),
        (ADMIN, routes!(enrolment::add_host)),
        (ADMIN, routes!(enrolment::invite_again)),
        (ADMIN, routes!(enrolment::rotate_token)),
        (ADMIN, routes!(enrolment::revoke_tokens)),
        (VIEWER, routes!(resources::of_host)),
        (OPERATOR, routes!(resources::forget)),
        (VIEWER, routes!(resources::across)),
        (VIEWER, routes!(resources::latest)),
        (VIEWER, routes!(history::history)),
        (ADMIN, routes!(history::import)),
        (VIEWER, routes!(changes::list)),
        (VIEWER, routes!(events::list)),
        (VIEWER, routes!(actions::list)),
        (VIEWER, routes!(actions::show)),
        (OPERATOR, routes!(actions::approve)),
        (OPERATOR, routes!(actions::reject)),
        (VIEWER, routes!(system::catalogue)),
        (VIEWER, routes!(system::hub)),
        (ADMIN, routes!(system::config)),
        (ADMIN, routes!(store::info)),
        (ADMIN, routes!(store::check)),
        (ADMIN, routes!(store::compact)),
        (ADMIN, routes!(store::back_up)),
        (ADMIN, routes!(audit::list)),
        (ADMIN, routes!(accounts::users)),
        (ADMIN, routes!(accounts::add_user)),
        (ADMIN, routes!(accounts::remove_user)),
        (ADMIN, routes!(accounts::set_password)),
        (ADMIN, routes!(accounts::set_role)),
        (ADMIN, routes!(accounts::tokens)),
        (ADMIN, routes!(accounts::add_token)),
        (ADMIN, routes!(accounts::remove_token)),
    ]
}

/// The router of all routes.
pub(crate) fn build() -> Router<App> {
    let described = list().into_iter().fold(OpenApiRouter::new(), |router, (_, route)| router.routes(route));
    described.split_for_parts().0
}

/// The right that each route asks for.
#[derive(Debug)]
pub(crate) struct AccessTable(HashMap<String, Vec<(Method, Access)>>);

/// The right that each route asks for, from the list.
pub(crate) fn access_table() -> AccessTable {
    let mut table: HashMap<String, Vec<(Method, Access)>> = HashMap::new();
    for (access, (_, paths, _)) in list() {
        for (path, item) in paths.paths {
            let methods = operations(&item).into_iter().map(|(method, _)| (method, access));
            table.entry(path).or_default().extend(methods);
        }
    }
    AccessTable(table)
}

impl AccessTable {
    /// What a route asks for. A method that a path does not have is refused
    /// later, to those who may look.
    pub(crate) fn of(&self, method: &Method, path: &str) -> Access {
        self.0
            .get(path)
            .and_then(|methods| methods.iter().find(|(m, _)| m == method))
            .map_or(Access::Needs(Role::Viewer), |(_, access)| *access)
    }

    /// Every route: method, path, right.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<(Method, String, Access)> {
        let mut all: Vec<_> = self
            .0
            .iter()
            .flat_map(|(path, methods)| methods.iter().map(|(m, a)| (m.clone(), path.clone(), *a)))
            .collect();
        all.sort_by(|a, b| (&a.1, a.0.as_str()).cmp(&(&b.1, b.0.as_str())));
        all
    }
}

/// The operations of a path, by method.
fn operations(item: &PathItem) -> Vec<(Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
    .collect()
}
