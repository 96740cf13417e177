import "./style.css";

document.querySelector("#greeting").textContent = document.title;
