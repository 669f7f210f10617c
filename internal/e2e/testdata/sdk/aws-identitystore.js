"use strict";
const https = require("node:https");
const { report } = require("./agent.js");
const { IdentitystoreClient, CreateUserCommand } = require("@aws-sdk/client-identitystore");

const client = new IdentitystoreClient({
  region: "us-east-1",
  credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "secret" },
  requestHandler: { httpsAgent: https.globalAgent },
});
report(
  () => client.send(new CreateUserCommand({ IdentityStoreId: "d-1234567890", UserName: "bob", DisplayName: "Bob", Name: { GivenName: "Bob", FamilyName: "B" } })),
  (e) => ({ message: e.message, status: e.$metadata.httpStatusCode, code: e.name, hold: e.$metadata.requestId, attempts: e.$metadata.attempts }),
);
