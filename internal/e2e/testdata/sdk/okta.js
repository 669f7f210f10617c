"use strict";
const { report } = require("./agent.js");
const { Client } = require("@okta/okta-sdk-nodejs");

report(
  () => new Client({ orgUrl: "https://contoso.okta.com", token: "token" }).userApi.expirePassword({ userId: "bob@contoso.com" }),
  (e) => ({ message: e.message, status: e.status, code: e.errorCode, hold: e.errorId }),
);
