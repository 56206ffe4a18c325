//! Requests and responses of the API, and a typed client
