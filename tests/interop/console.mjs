// The console page in a real browser: it loads without an error, shows who is connected as text, lifts a denial by the keyboard.
//
// GATEMQ_CONSOLE: {"url", "token", "browser", "screenshots", "other_pid"}. One line a check; the first that fails ends it.
import puppeteer from "puppeteer-core";

const given = JSON.parse(process.env.GATEMQ_CONSOLE);
const PATIENCE = { timeout: 20000 };
const shown = (id, text) => page.waitForFunction((id, text) => document.getElementById(id).textContent.includes(text), PATIENCE, id, text);
const gone = (id, text) => page.waitForFunction((id, text) => !document.getElementById(id).textContent.includes(text), PATIENCE, id, text);

// What chromium's own sandbox needs is not there for root in a container; the page is ours.
const browser = await puppeteer.launch({ executablePath: given.browser, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
await page.setViewport({ width: 1400, height: 1100 });
const problems = [];
page.on("pageerror", (e) => problems.push(e.message));
page.on("console", (line) => { if (line.type() === "error" && !line.text().includes("409") && !line.text().includes("401")) problems.push(line.text()); });
page.on("request", (request) => { if (!request.url().startsWith(given.url)) problems.push("asks " + request.url()); });

const press = async (selector) => {
  await page.waitForSelector(selector, PATIENCE);
  await page.focus(selector);
  await page.keyboard.press("Enter");
};

const checks = {
  "loads, and asks for a token": async () => {
    await page.goto(given.url);
    await page.waitForSelector("#token", { visible: true, ...PATIENCE });
  },
  "a wrong token shows nothing": async () => {
    await page.type("#token", "wrong".repeat(10));
    await page.keyboard.press("Enter");
    await shown("login-problem", "token");
    if (await page.$eval("#shown", (e) => !e.hidden)) throw new Error("something is shown");
  },
  "a right one shows who is connected": async () => {
    await page.type("#token", given.token);
    await page.keyboard.press("Enter");
    await shown("clients", "mallory");
    await shown("plugins", "ready");
    await shown("cluster", "node-2");
    await shown("cluster", "up");
  },
  "what a peer calls itself is text": async () => {
    const found = await page.evaluate(() => ({ images: document.images.length, text: document.body.innerText }));
    if (found.images !== 0) throw new Error("it became an element");
    if (!found.text.includes("<img src=x")) throw new Error("it is not shown");
    if (/[\u001b\u202e]/.test(found.text)) throw new Error("a character that acts is shown as it is");
  },
  "one client in full": async () => {
    await press('#clients button[aria-label*="mallory"]');
    await shown("client", "a/#");
    await shown("client", "faults");
  },
  "one with a certificate, and its chain to the authority": async () => {
    await press('#clients button[aria-label^="Show"][aria-label*="sensor"]');
    await shown("client", "CN=sensor-1");
    await shown("client", "CN=Acme Intermediate 1");
    await shown("client", "Trust anchor");
  },
  "a client is denied by the keyboard": async () => {
    await press('#clients button[aria-label^="Deny"][aria-label*="mallory"]');
    await shown("denials", "mallory");
    await gone("clients", "mallory");
  },
  "events are shown as they happen": async () => {
    await shown("events", "AdminActed");
    await shown("events", "token operator");
  },
  "screenshots, light and dark": async () => {
    for (const value of ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);
      await page.screenshot({ path: given.screenshots + "/console-" + value + ".png", fullPage: true });
    }
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    if (dark !== "rgb(20, 22, 26)") throw new Error("dark is " + dark);
  },
  "a denial is lifted by the keyboard": async () => {
    await press('#denials button[aria-label*="mallory"]');
    await gone("denials", "mallory");
  },
  "a node that dies is seen to": async () => {
    process.kill(given.other_pid, "SIGKILL");
    await gone("cluster", "up");
    await shown("cluster", "node-2");
    await shown("events", "NodeFailed");
  },
  "the token is forgotten": async () => {
    await press("#forget");
    await page.waitForSelector("#token", { visible: true, ...PATIENCE });
    const kept = await page.evaluate(() => sessionStorage.length + localStorage.length + document.cookie.length);
    if (kept !== 0) throw new Error("something is kept");
  },
  "nothing of another origin, and no error": async () => {
    if (problems.length) throw new Error(problems.join("; "));
  },
};

let failed = false;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log("ok " + name);
  } catch (e) {
    console.log("FAILED " + name + ": " + e.message + " " + problems.join("; "));
    await page.screenshot({ path: given.screenshots + "/console-failed.png", fullPage: true });
    failed = true;
    break;
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
