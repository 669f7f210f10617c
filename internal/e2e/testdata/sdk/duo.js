"use strict";
const fs = require("node:fs");
const { report } = require("./agent.js");
const duo = require("@duosecurity/duo_api");

// This client trusts Duo's own roots and no others, so the interception CA has to take their place.
require("@duosecurity/duo_api/lib/constants").DUO_PINNED_CERT = fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS);

// It throws nothing: callers look at stat.
class Failed extends Error {}
report(
  () =>
    new Promise((resolve, reject) =>
      new duo.Client("DIXXXXXXXXXXXXXXXXXX", "secret", "api-x.duosecurity.com").jsonApiCall("POST", "/admin/v1/admins", { name: "Bob", email: "bob@contoso.com", role: "Owner" }, (answer) =>
        answer.stat === "OK" ? resolve(answer) : reject(Object.assign(new Failed(answer.message), { answer })),
      ),
    ),
  (e) => ({ message: e.answer.message, status: Math.trunc(e.answer.code / 100), code: e.answer.reason, hold: e.answer.message_detail.split(" ").pop() }),
);
