// What we sign is verified by the published libraries of two makers, before and after a rotation of the secret: as
// proof.py says.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.BOTPRIMEX_MODULES}/`);
const libraries = [require("standardwebhooks").Webhook, require("svix").Webhook];
const { BOTPRIMEX_URL: url, BOTPRIMEX_KEY: key } = process.env;

const received = [];
const server = createServer(async (request, answer) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  received.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
  answer.writeHead(204).end();
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

async function ask(path, body) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert(answer.ok, `${path}: ${answer.status}`);
  return answer.json();
}

function check(secret, { headers, body }) {
  for (const Webhook of libraries) {
    const hook = new Webhook(secret);
    // One of them answers nothing: a signature that is not good throws.
    const event = hook.verify(body, headers) ?? JSON.parse(body);
    assert.equal(event.id, headers["webhook-id"]);
    assert.throws(() => hook.verify(`${body} `, headers));
    const later = String(Number(headers["webhook-timestamp"]) + 1);
    assert.throws(() => hook.verify(body, { ...headers, "webhook-timestamp": later }));
  }
}

const endpoint = await ask("/v1/webhooks", { url: `http://127.0.0.1:${server.address().port}/hook` });
const test = `/v1/webhooks/${endpoint.id}/test`;
assert.equal((await ask(test, {})).status, "delivered");
check(endpoint.secret, received[0]);

const rotated = await ask(`/v1/webhooks/${endpoint.id}/rotate-secret`, {});
for (const Webhook of libraries) {
  assert.throws(() => new Webhook(rotated.secret).verify(received[0].body, received[0].headers));
}
assert.equal((await ask(test, {})).status, "delivered");
check(endpoint.secret, received[1]);
check(rotated.secret, received[1]);
console.log("javascript: standardwebhooks and svix verify what is signed, with both secrets after a rotation");
process.exit(0);
