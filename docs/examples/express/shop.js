// A shop in Express: it mails a receipt for each order and hears what became of it.
//
//     npm ci && npm start
//
// GMP_URL and GMP_API_TOKEN (the tenant's key) say where mailproxy is, SHOP_WEBHOOK_SECRETS (with spaces between
// them) what signs its calls, SHOP_PORT where to listen, SHOP_JOURNAL where it is written down what happened.
// The tenant's client_base_url is this server.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";

import express from "express";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { GMP_URL, GMP_API_TOKEN, SHOP_WEBHOOK_SECRETS, SHOP_PORT = "8080", SHOP_JOURNAL = "shop.jsonl" } = process.env;
const webhooks = SHOP_WEBHOOK_SECRETS.split(" ").map((secret) => new Webhook(secret));
const orders = new Map();
const heard = new Set();

function apply(entry) {
  if (entry.event_id === undefined) {
    if (!orders.has(entry.number)) orders.set(entry.number, { state: "mailed", error: null });
  } else if (!heard.has(entry.event_id)) {
    heard.add(entry.event_id); // a report may come twice
    if (orders.has(entry.number)) orders.set(entry.number, { state: entry.state, error: entry.error });
  }
}

function keep(entries) {
  const journal = openSync(SHOP_JOURNAL, "a");
  try {
    writeSync(journal, entries.map((entry) => JSON.stringify(entry) + "\n").join(""));
    fsyncSync(journal);
  } finally {
    closeSync(journal);
  }
  entries.forEach(apply);
}

if (existsSync(SHOP_JOURNAL)) {
  readFileSync(SHOP_JOURNAL, "utf8").split("\n").filter(Boolean).map(JSON.parse).forEach(apply);
}

// True when one of the secrets that are active signed these very bytes.
function isSigned(body, headers) {
  return webhooks.some((webhook) => {
    try {
      webhook.verify(body, headers);
      return true;
    } catch (error) {
      if (error instanceof WebhookVerificationError) return false;
      throw error;
    }
  });
}

const app = express();

app.post("/orders", express.json(), async (request, response) => {
  const { number, email } = request.body;
  keep([{ number }]);
  const receipt = {
    id: `order-${number}`, // posted again, it is still one message
    account_id: "main",
    from: "Shop <shop@example.com>",
    to: email,
    subject: `Your order ${number}`,
    body: "Thank you.",
  };
  const answer = await fetch(`${GMP_URL}/commands/add-messages`, {
    method: "POST",
    headers: { "X-API-Token": GMP_API_TOKEN, "Content-Type": "application/json" },
    body: JSON.stringify({ messages: [receipt] }),
  });
  const said = await answer.json();
  const [rejected] = said.rejected ?? said.detail?.rejected ?? [];
  if (answer.ok || ["already_sent", "being_sent"].includes(rejected?.code)) {
    response.status(202).json({ number });
  } else {
    response.status(answer.status === 400 ? 422 : 502).json({ error: rejected?.reason ?? said.detail });
  }
});

app.get("/orders/:number", (request, response) => {
  const found = orders.get(request.params.number);
  response.status(found ? 200 : 404).json(found ?? {});
});

// Nothing is believed that is not signed; nothing is acknowledged that is not kept.
app.post("/mail-proxy/sync", express.raw({ type: "application/json", limit: "10mb" }), (request, response) => {
  if (!Buffer.isBuffer(request.body) || !isSigned(request.body, request.headers)) {
    response.status(401).json({ error: "no signature by an active secret" });
    return;
  }
  const reports = JSON.parse(request.body.toString("utf8")).delivery_report;
  keep(reports.map(({ event_id, id, event_type, error }) =>
    ({ event_id, number: id.replace(/^order-/, ""), state: event_type, error })));
  response.json({ ok: true });
});

app.listen(Number(SHOP_PORT), "127.0.0.1");
