from django.contrib import admin
from django.urls import path

from greetings.views import greet

urlpatterns = [path("", greet), path("admin/", admin.site.urls)]
