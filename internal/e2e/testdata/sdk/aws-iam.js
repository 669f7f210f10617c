"use strict";
const https = require("node:https");
const { report } = require("./agent.js");
const { IAMClient, CreateAccessKeyCommand } = require("@aws-sdk/client-iam");

const client = new IAMClient({
  region: "us-east-1",
  credentials: { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "secret" },
  requestHandler: { httpsAgent: https.globalAgent }, // this SDK makes an agent of its own otherwise
});
report(
  () => client.send(new CreateAccessKeyCommand({ UserName: "bob" })),
  (e) => ({ message: e.message, status: e.$metadata.httpStatusCode, code: e.name, hold: e.$metadata.requestId, attempts: e.$metadata.attempts }),
);
