//! How the vocabulary looks in JSON, for the API's description. Only the
//! schemas: nothing here knows of a route.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, Object, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::{ActionId, ActionState, EventId, HostId, Problem, Risk, Severity, Status, Timestamp, Value};

macro_rules! schemas {
    ($($type:ty, $name:literal => $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

schemas! {
    Timestamp, "Timestamp" => text("A time: RFC 3339 with milliseconds.")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    HostId, "HostId" => text("A host's identity: a ULID.").pattern(Some(ULID));
    EventId, "EventId" => text("An event's identity: a ULID.").pattern(Some(ULID));
    ActionId, "ActionId" => text("An Action's identity: a ULID.").pattern(Some(ULID));
    ActionState, "ActionState" => text("Where an Action is on its way.")
        .enum_values(Some(ActionState::ALL.map(ActionState::as_str)));
    Risk, "Risk" => text("How much harm an Action can do.").enum_values(Some(Risk::ALL.map(Risk::as_str)));
    Status, "Status" => text("How a thing stands; the worst of several counts.")
        .enum_values(Some(Status::ALL.map(Status::as_str)));
    Severity, "Severity" => text("How much an event matters.")
        .enum_values(Some(["info", "warning", "error", "critical"]));
    Value, "Scalar" => OneOfBuilder::new()
        .description(Some("A text, a flag or a number."))
        .item(Object::with_type(Type::Boolean))
        .item(Object::with_type(Type::Number))
        .item(Object::with_type(Type::String));
    Problem, "ResourceProblem" => ObjectBuilder::new()
        .description(Some("One thing that is wrong."))
        .property("field", text("The field or attribute that says so."))
        .required("field")
        .property("status", Status::schema())
        .required("status")
        .property("reason", text("In words: \"/ is 93 % full\"."))
        .required("reason")
        .property("since", Timestamp::schema())
        .required("since");
}

const ULID: &str = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$";

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}
