"use strict";
const { report } = require("./agent.js");
const { admin, auth } = require("@googleapis/admin");

const credentials = new auth.OAuth2();
credentials.setCredentials({ access_token: "token" });
report(
  () => admin({ version: "directory_v1", auth: credentials }).users.makeAdmin({ userKey: "bob@contoso.com", requestBody: { status: true } }),
  (e) => ({ message: e.message, status: e.status, code: e.response.data.error.errors[0].reason, hold: e.response.data.error.details[0].metadata.hold }),
);
