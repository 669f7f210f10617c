// What every script here shares: the environment of an agent behind the sidecar, and the report for the test.
"use strict";
const https = require("node:https");
const { HttpsProxyAgent } = require("https-proxy-agent");
const { EnvHttpProxyAgent, setGlobalDispatcher } = require("undici");

// Node before 24 has an https module and a fetch that read no proxy variables; these do.
https.globalAgent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
setGlobalDispatcher(new EnvHttpProxyAgent());

// report runs one call of an SDK and prints what the SDK threw, as read reads it from the place where the SDK keeps it.
exports.report = (call, read) =>
  call().then(
    (result) => print({ unexpected: "the call succeeded: " + JSON.stringify(result) }),
    (e) => print({ type: e.constructor.name, ...read(e) }),
  );

const print = (outcome) => console.log(JSON.stringify(outcome));
