// look.cjs CHROMIUM PAGE FOLDER: the page as a desk and a phone show it, light and dark, all details open.
// One JSON line a view: what sticks out to the right, which lines of time have other ends than their axis, what was
// fetched, what the browser complains about, the ground's colour; a picture of each in FOLDER.
const { pathToFileURL } = require("node:url");
const path = require("node:path");
const puppeteer = require("puppeteer-core");

const [, , executablePath, page, folder] = process.argv;

async function look(browser, width, scheme) {
  const tab = await browser.newPage();
  const fetched = [];
  const complaints = [];
  tab.on("request", (request) => fetched.push(request.url()));
  tab.on("console", (message) => complaints.push(message.text()));
  tab.on("pageerror", (error) => complaints.push(error.message));
  await tab.setViewport({ width, height: 900, isMobile: width < 500 });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await tab.goto(pathToFileURL(page).href);
  const seen = await tab.evaluate(() => {
    document.querySelectorAll("details").forEach((one) => (one.open = true));
    const out = [...document.querySelectorAll("body *")].filter(
      (one) => one.getClientRects().length && one.getBoundingClientRect().right > innerWidth + 1,
    );
    const bar = document.querySelector("path.after");
    const axis = document.querySelector(".axis .labels");
    const ends = (one) => [one.getBoundingClientRect().left, one.getBoundingClientRect().right].map(Math.round).join();
    const lanes = [...document.querySelectorAll(".line svg")].filter((one) => ends(one) !== ends(axis));
    return {
      width: document.documentElement.scrollWidth,
      askew: lanes.map((one) => one.getAttribute("aria-label")),
      out: out.map((one) => `${one.tagName} ${one.textContent.trim().slice(0, 40)}`),
      ground: getComputedStyle(document.body).backgroundColor,
      bars: bar && getComputedStyle(bar).fill,
    };
  });
  await tab.screenshot({ path: path.join(folder, `${width}-${scheme}.png`), fullPage: true });
  await tab.close();
  return { view: width, scheme, fetched: fetched.length, complaints, ...seen };
}

(async () => {
  const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    for (const width of [1280, 375]) {
      for (const scheme of ["light", "dark"]) console.log(JSON.stringify(await look(browser, width, scheme)));
    }
  } finally {
    await browser.close();
  }
})();
