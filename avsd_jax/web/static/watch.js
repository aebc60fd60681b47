import { chooser } from "/static/common.js";

chooser(document.getElementById("chooser"), { page: "/watch" });
