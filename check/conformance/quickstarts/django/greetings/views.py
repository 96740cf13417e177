from django.shortcuts import render

from greetings.models import Visit


def greet(request):
    Visit.objects.create()
    return render(request, "greetings/greet.html", {"visits": Visit.objects.count()})
